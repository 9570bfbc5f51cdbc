import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'

const url = process.argv[2]

const provider = createOpenAICompatible({ name: '-', baseURL: url, fetch: (_, { signal }) => fetch(url, { signal }) })
const { textStream } = streamText({ model: provider('-'), prompt: '-' })
for await (const text of textStream) console.log(text)
