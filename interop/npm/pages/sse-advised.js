import { SSE } from 'sse.js'

const source = new SSE(url, { autoReconnect: true, useLastEventId: true, reconnectDelay: 2000 })
source.addEventListener('message', event => console.log(event.data))
source.addEventListener('tailwater.end', () => source.close())
