import { EventSource } from 'undici'

const url = process.argv[2]

const source = new EventSource(url)
source.onmessage = event => console.log(event.data)
