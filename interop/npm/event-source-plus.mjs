import { EventSourcePlus } from 'event-source-plus'

const url = process.argv[2]

new EventSourcePlus(url).listen({ onMessage: ({ data }) => console.log(data) })
