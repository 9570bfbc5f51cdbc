import { EventSourceParserStream } from 'eventsource-parser/stream'

const url = process.argv[2]

const response = await fetch(url)
const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
for await (const event of events) console.log(event.data)
