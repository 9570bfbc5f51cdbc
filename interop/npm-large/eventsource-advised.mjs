import { EventSource } from 'eventsource'

const url = process.argv[2]

const source = new EventSource(url)
source.onmessage = event => console.log(event.data)

// The timer for coming back does not keep a program alive that does nothing else.
const alive = setInterval(() => {
  if (source.readyState === EventSource.CLOSED) clearInterval(alive)
}, 1000)
