import OpenAI from 'openai'

const url = process.argv[2]

const client = new OpenAI({ apiKey: '-', fetch: (_, { signal }) => fetch(url, { signal }) })
const stream = await client.chat.completions.create({ model: '-', messages: [], stream: true })
for await (const chunk of stream) console.log(chunk.choices[0].delta.content)
