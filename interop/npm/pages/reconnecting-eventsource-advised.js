import ReconnectingEventSource from 'reconnecting-eventsource'

const source = new ReconnectingEventSource(url)
// The library keeps the ids of listeners, not those of `onmessage`.
source.addEventListener('message', event => console.log(event.data))
source.addEventListener('tailwater.end', () => source.close())
