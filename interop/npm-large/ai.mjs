import { DefaultChatTransport } from 'ai'

const url = process.argv[2]

const transport = new DefaultChatTransport({ prepareReconnectToStreamRequest: () => ({ api: url }) })
const chunks = await transport.reconnectToStream({ chatId: '-' })
for await (const chunk of chunks) if (chunk.type === 'text-delta') console.log(chunk.delta)
