import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'
import { resumingFetch } from './resume.mjs'

const url = process.argv[2]

const provider = createOpenAICompatible({ name: '-', baseURL: url, fetch: resumingFetch(url) })
const { textStream } = streamText({ model: provider('-'), prompt: '-' })
for await (const text of textStream) console.log(text)
