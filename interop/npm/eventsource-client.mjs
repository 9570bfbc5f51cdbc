import { createEventSource } from 'eventsource-client'

const url = process.argv[2]

for await (const { data } of createEventSource({ url })) console.log(data)
