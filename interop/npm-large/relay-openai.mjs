// A response breaks off after 100 tokens, and goes on through another relay.
import OpenAI from 'openai'

const [first, second] = process.argv.slice(2)
const client = url => new OpenAI({ apiKey: 'sk-1', baseURL: `${url}/v1`, maxRetries: 0 })

let id, last, text = '', count = 0
for await (const event of await client(first).responses.create({ model: 'm', input: '-', stream: true })) {
  if (event.type === 'response.created') id = event.response.id
  last = event.sequence_number
  if (event.type === 'response.output_text.delta') text += event.delta
  if (event.type === 'response.output_text.delta' && ++count === 100) break
}
const rest = await client(second).responses.retrieve(id, { stream: true, starting_after: last })
for await (const event of rest) if (event.type === 'response.output_text.delta') text += event.delta
console.log(text)
