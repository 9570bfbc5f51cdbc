import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const url = process.argv[2]

// Requests of the client go to the server itself, which is not a part of this; its stream is the topic.
const server = (_, init) => (init.method === 'GET' ? fetch(url, init) : new Response(null, { status: 202 }))

const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: server })
transport.onmessage = message => console.log(message.params.data)
transport.onerror = error => console.error(error.message)
await transport.start()
await transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' })
