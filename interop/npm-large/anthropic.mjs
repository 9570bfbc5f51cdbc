import Anthropic from '@anthropic-ai/sdk'

const url = process.argv[2]

const client = new Anthropic({ apiKey: '-', fetch: (_, { signal }) => fetch(url, { signal }) })
const stream = await client.messages.create({ model: '-', max_tokens: 1, messages: [], stream: true })
for await (const event of stream) console.log(event.delta?.text)
