// A fleet at a full gateway: so many clients with their natural settings, all at one address of this machine.
// Prints the number of requests in each second.

import { EventSourcePlus } from 'event-source-plus'
import { Agent, setGlobalDispatcher } from 'undici'

const [url, localAddress, clients, seconds] = process.argv.slice(2)

// Within `connect`, undici would ignore the address.
setGlobalDispatcher(new Agent({ localAddress }))

const requests = Array(Number(seconds)).fill(0)
const begin = Date.now()

for (let n = 0; n < Number(clients); n++) {
  new EventSourcePlus(url).listen({
    onMessage() {},
    onRequest() {
      requests[Math.floor((Date.now() - begin) / 1000)]++
    },
  })
}

setTimeout(() => {
  console.log(JSON.stringify(requests.slice(0, seconds)))
  process.exit()
}, seconds * 1000)
