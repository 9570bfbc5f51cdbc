import { SSE } from 'sse.js'

const source = new SSE(url)
source.addEventListener('message', event => console.log(event.data))
