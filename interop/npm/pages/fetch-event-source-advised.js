import { fetchEventSource } from '@microsoft/fetch-event-source'

const stop = new AbortController()
let id = ''
fetchEventSource(url, {
  signal: stop.signal,
  // The library would send an id that it has read of an event that was cut off.
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, 'last-event-id': id } }),
  async onopen(response) {
    if (response.status === 204) stop.abort() // the topic has ended
    else if (!response.ok) throw new Error(response.status)
    id ||= response.headers.get('Tailwater-Cursor') ?? ''
  },
  onmessage(event) {
    if (!event.id) return // a heartbeat arrives as an empty message
    id = event.id
    console.log(event.data)
  },
})
