import { EventSource } from '@tailwater/client'

const source = new EventSource(url)
source.onmessage = event => console.log(event.data)
