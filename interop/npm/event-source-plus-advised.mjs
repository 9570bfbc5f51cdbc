import { EventSourcePlus } from 'event-source-plus'

const url = process.argv[2]

let pause = 0
const controller = new EventSourcePlus(url).listen({
  // The library itself comes back within milliseconds.
  onRequest: () => new Promise(resolve => setTimeout(resolve, pause)),
  onResponse({ response }) {
    pause ||= 2000
    if (response.status === 204) controller.abort() // the topic has ended
  },
  onMessage({ data, retry }) {
    if (retry) pause = retry
    console.log(data)
  },
})
