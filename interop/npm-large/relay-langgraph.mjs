// The connection of a run breaks after a while, and the SDK goes on through another relay.
import { Client } from '@langchain/langgraph-sdk'

const [first, second] = process.argv.slice(2)

/** The first answer breaks after 5,000 bytes. Everything else is asked of the second relay. */
let asked = 0
async function breaking(url, init) {
  if (asked++ > 0) return fetch(String(url).replace(first, second), init)
  const response = await fetch(url, init)
  let bytes = 0
  const cut = new TransformStream({
    transform(part, controller) {
      bytes += part.length
      if (bytes > 5000) controller.error(new TypeError('network error'))
      else controller.enqueue(part)
    }
  })
  return new Response(response.body.pipeThrough(cut), response)
}

const client = new Client({ apiUrl: first, apiKey: null, callerOptions: { fetch: breaking, maxRetries: 0 } })
let text = ''
for await (const { event, data } of client.runs.stream('t', 'agent', { input: {} })) {
  if (event === 'messages') text += data[0].content
}
console.log(text)
