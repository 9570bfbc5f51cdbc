#!/usr/bin/env bash
# undici 7.30.0: an Agent with `connect: { localAddress }` connects from another address, without an error.
#
# `connect` takes the options of `net.connect`, and the package's types have `localAddress` among them. The client hands
# its own option `localAddress` to the connector for each connection, also when it has none: that `null` replaces the
# address of `connect`. So a program that must come from one of the machine's addresses (for a firewall, a quota or a
# test with many clients) comes from the default one and does not notice. At the top level of the options it works.
# Other options within `connect`, such as `family`, do count.
#
# Seen on 2026-11-28, twice:
#   connect: { localAddress }: 127.0.0.1
#   localAddress: 127.0.0.66
#
# Needs Node.js 20, Linux and the npm registry. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" undici@7.30.0 >/dev/null
cat >seen.mjs <<'JS'
import { createServer } from 'node:http'
import { Agent, request } from 'undici'

const server = createServer((request, response) => response.end(request.socket.remoteAddress))
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))

/** Returns the address from which an agent with these options comes. */
async function from(options) {
  const dispatcher = new Agent(options)
  const { body } = await request(`http://127.0.0.1:${server.address().port}/`, { dispatcher })
  const address = await body.text()
  await dispatcher.close()
  return address
}

const localAddress = '127.0.0.66'
console.log(`connect: { localAddress }: ${await from({ connect: { localAddress } })}`)
console.log(`localAddress: ${await from({ localAddress })}`)
server.close()
JS
out=$(node seen.mjs)
echo "$out"
expected='connect: { localAddress }: 127.0.0.1
localAddress: 127.0.0.66'
[ "$out" = "$expected" ]
