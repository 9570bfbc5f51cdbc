import ReconnectingEventSource from 'reconnecting-eventsource'

const source = new ReconnectingEventSource(url)
source.onmessage = event => console.log(event.data)
