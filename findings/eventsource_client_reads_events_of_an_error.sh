#!/usr/bin/env bash
# eventsource-client 1.2.0 (npm): the body of a 503 is read as a stream, and its events reach the application like any other.
#
# The standard says that an answer other than 200 fails the connection. This client looks at the status for 204 alone, and
# hands every event of any other answer to onMessage; then it comes back by its timer. A load balancer that answers for
# servers that are away must therefore send events only if every client may see them; a comment is safe. npm's eventsource
# reports the error and delivers nothing.
#
# A server answers 503 with one event, and then 204. Seen on 2026-11-28, Node.js 20, twice:
#   eventsource-client 1.2.0: 1 message from a 503
#   eventsource 4.1.1: 0 messages from a 503
#
# Needs node 20 or later and npm. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type":"module"}' >package.json
npm install --silent --no-audit --no-fund eventsource-client@1.2.0 eventsource@4.1.1

cat >run.mjs <<'NODE'
import { createServer } from 'node:http'
import { EventSource } from 'eventsource'
import { createEventSource } from 'eventsource-client'

let connections = 0
const server = createServer((_, response) => {
  connections += 1
  if (connections > 1) return response.writeHead(204).end()
  response.writeHead(503, { 'content-type': 'text/event-stream', connection: 'close' })
  response.end('retry: 100\ndata: x\n\n')
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${server.address().port}/`
const pause = () => new Promise(resolve => setTimeout(resolve, 3000))
for (const name of ['eventsource-client', 'eventsource']) {
  connections = 0
  let messages = 0
  const onMessage = () => { messages += 1 }
  const source = name === 'eventsource' ? new EventSource(url) : createEventSource({ url, onMessage })
  if (name === 'eventsource') source.onmessage = onMessage
  await pause()
  source.close()
  console.log(`${name}: ${messages} messages from a 503`)
}
process.exit(0)
NODE
out=$(timeout 60 node run.mjs)
echo "$out"
[ "$out" = $'eventsource-client: 1 messages from a 503\neventsource: 0 messages from a 503' ]
