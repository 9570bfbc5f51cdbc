import { createClient } from 'graphql-sse'

const url = process.argv[2]

const client = createClient({ url, fetchFn: (_, { signal }) => fetch(url, { signal }) })
for await (const { data } of client.iterate({ query: 'subscription { event }' })) console.log(data.event)
