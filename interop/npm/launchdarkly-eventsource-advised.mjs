import { EventSource } from 'launchdarkly-eventsource'

const url = process.argv[2]

const source = new EventSource(url, { readTimeoutMillis: 45_000 })
source.onmessage = event => console.log(event.data)
source.onerror = error => console.error(error.message)
