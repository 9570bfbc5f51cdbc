// Reads the stored answer at a URL, which did not come to its end, as a chat completion.
import OpenAI from 'openai'

const url = process.argv[2]
const client = new OpenAI({ apiKey: '-', maxRetries: 0, fetch: () => fetch(url) })
try {
  const chunks = await client.chat.completions.create({ model: '-', messages: [], stream: true })
  for await (const chunk of chunks) if (!chunk.choices) console.log('no chunk', chunk)
  console.log('complete')
} catch (error) {
  console.log('error', error.code)
}
