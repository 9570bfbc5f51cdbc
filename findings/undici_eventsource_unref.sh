#!/usr/bin/env bash
# undici 7.30.0 on Node.js 20: a program that does nothing but read an EventSource ends, without an error and with exit code 0,
# when its connection breaks, because the timer for coming back is unref'ed.
#
# The standard says that the user agent waits and comes back. npm's eventsource, which has the same interface, keeps
# the program alive meanwhile. With undici a worker that tails a stream stops at the first restart of the server, and looks
# as if it had finished. A timer of its own, or a server that listens, hides this.
#
# A server sends one event (with retry: 100) on each connection and closes it. Seen on 2026-11-28, twice:
#   eventsource 4.1.1: 3 streams (the server then answers 204, and the program ends)
#   undici 7.30.0: 1 stream, exit code 0
#
# Needs node 20 or later and npm. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type":"module"}' >package.json
npm install --silent --no-audit --no-fund undici@7.30.0 eventsource@4.1.1

cat >client.mjs <<'NODE'
const { EventSource } = await import(process.argv[2])
new EventSource(process.argv[3]).onmessage = () => {}
NODE
cat >run.mjs <<'NODE'
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'

let connections = 0
const server = createServer((_, response) => {
  connections += 1
  if (connections > 3) return response.writeHead(204).end()
  response.writeHead(200, { 'content-type': 'text/event-stream', connection: 'close' })
  response.end('retry: 100\ndata: x\n\n')
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${server.address().port}/`
for (const name of ['eventsource', 'undici']) {
  connections = 0
  const client = spawn(process.execPath, ['client.mjs', name, url], { stdio: 'ignore' })
  const code = await new Promise(resolve => client.on('exit', resolve))
  console.log(`${name}: ${Math.min(connections, 3)} streams, exit code ${code}`)
}
server.close()
NODE
out=$(timeout 30 node run.mjs)
echo "$out"
[ "$out" = $'eventsource: 3 streams, exit code 0\nundici: 1 streams, exit code 0' ]
