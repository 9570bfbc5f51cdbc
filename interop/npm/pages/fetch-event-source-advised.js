import { fetchEventSource } from '@microsoft/fetch-event-source'

const stop = new AbortController()
fetchEventSource(url, {
  signal: stop.signal,
  async onopen(response) {
    if (response.status === 204) stop.abort() // the topic has ended
    else if (!response.ok) throw new Error(response.status)
  },
  onmessage(event) {
    if (event.id) console.log(event.data) // a heartbeat arrives as an empty message
  },
})
