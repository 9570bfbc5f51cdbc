#!/usr/bin/env bash
# event-source-plus 0.1.15: a client that is aborted while it waits to reconnect goes on for ever, and cannot be stopped.
#
# Between two connections the library waits, and then replaces its AbortController by a new one and connects. It does not
# look if the old one was aborted meanwhile. The controller that the application holds remembers that it has aborted, and
# ignores every later abort(). So a page that leaves, or a program that wants to end, while the server is away keeps a
# request loop whose callbacks still run. An abort() while a stream is open does end it.
#
# Seen on 2026-11-28, twice:
#   aborted while a stream is open: stops
#   aborted in a pause: goes on, and again after a second abort()
#
# Needs Node.js 20 and the npm registry. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" event-source-plus@0.1.15 >/dev/null
cat >seen.mjs <<'JS'
import { createServer } from 'node:http'
import { EventSourcePlus } from 'event-source-plus'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

/** Opens a client, aborts it twice at a moment, and returns true if it asks again after each. */
async function goesOn(answer, moment) {
  let requests = 0
  const server = createServer((request, response) => {
    requests++
    answer(response)
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${server.address().port}/`
  const controller = new EventSourcePlus(url, { maxRetryInterval: 200 }).listen({ onMessage() {} })
  await sleep(moment)
  const asked = []
  for (let n = 0; n < 2; n++) {
    controller.abort()
    await sleep(100)
    const before = requests
    await sleep(1000)
    asked.push(requests > before)
  }
  server.closeAllConnections()
  server.close()
  return asked
}

const say = asked => (asked.every(Boolean) ? 'goes on, and again after a second abort()' : asked.some(Boolean) ? 'differs' : 'stops')
const stream = response => response.writeHead(200, { 'content-type': 'text/event-stream' }).write(':\n\n')
// Refusals: after a second, the pauses of the client are 200 ms long, and its requests take no time.
const refuse = response => response.writeHead(503).end()
console.log(`aborted while a stream is open: ${say(await goesOn(stream, 500))}`)
console.log(`aborted in a pause: ${say(await goesOn(refuse, 1000))}`)
process.exit()
JS
out=$(node seen.mjs)
echo "$out"
expected='aborted while a stream is open: stops
aborted in a pause: goes on, and again after a second abort()'
[ "$out" = "$expected" ]
