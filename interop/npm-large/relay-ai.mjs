// A page of a chat is closed after some parts of an answer, and loaded again from another relay.
import { DefaultChatTransport } from 'ai'

const [first, second] = process.argv.slice(2)
const transport = url => new DefaultChatTransport({ api: `${url}/api/chat` })
const chat = { chatId: 'chat-1' }

if ((await transport(second).reconnectToStream(chat)) !== null) console.log('something runs')
const tab = new AbortController()
const message = { id: 'u', role: 'user', parts: [{ type: 'text', text: '-' }] }
const begun = await transport(first).sendMessages({
  ...chat, trigger: 'submit-message', messages: [message], abortSignal: tab.signal
})
let count = 0
for await (const chunk of begun) if (chunk.type === 'text-delta' && ++count === 100) break
tab.abort()
let text = ''
for await (const chunk of await transport(second).reconnectToStream(chat)) {
  if (chunk.type === 'text-delta') text += chunk.delta
}
console.log(text)
