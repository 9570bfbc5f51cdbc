import OpenAI from 'openai'
import { resumingFetch } from './resume.mjs'

const url = process.argv[2]

const client = new OpenAI({ apiKey: '-', fetch: resumingFetch(url) })
const stream = await client.chat.completions.create({ model: '-', messages: [], stream: true })
for await (const chunk of stream) console.log(chunk.choices[0].delta.content)
