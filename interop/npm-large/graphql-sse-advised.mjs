import { createClient } from 'graphql-sse'
import { resumingFetch } from './resume.mjs'

const url = process.argv[2]

const client = createClient({ url, fetchFn: resumingFetch(url) })
for await (const { data } of client.iterate({ query: 'subscription { event }' })) console.log(data.event)
