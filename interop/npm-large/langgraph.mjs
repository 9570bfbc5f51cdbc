import { Client } from '@langchain/langgraph-sdk'

const url = process.argv[2]

const client = new Client({ apiUrl: url, apiKey: null, callerOptions: { fetch: (_, { signal }) => fetch(url, { signal }) } })
for await (const { data } of client.runs.joinStream('thread', 'run')) console.log(data[0].content)
