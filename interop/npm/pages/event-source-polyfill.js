import { EventSourcePolyfill } from 'event-source-polyfill'

const source = new EventSourcePolyfill(url)
source.onmessage = event => console.log(event.data)
