import { DefaultChatTransport } from 'ai'
import { resumingFetch } from './resume.mjs'

const url = process.argv[2]

const transport = new DefaultChatTransport({ fetch: resumingFetch(url) })
const chunks = await transport.reconnectToStream({ chatId: '-' })
for await (const chunk of chunks) if (chunk.type === 'text-delta') console.log(chunk.delta)
