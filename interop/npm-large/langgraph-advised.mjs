import { Client } from '@langchain/langgraph-sdk'
import { resumingFetch } from './resume.mjs'

const [url, lastEventId] = process.argv.slice(2)

const client = new Client({ apiUrl: url, apiKey: null, callerOptions: { fetch: resumingFetch(url) } })
const run = client.runs.joinStream('thread', 'run', { lastEventId })
for await (const { event, data } of run) if (event === 'messages') console.log(data[0].content)
