import { EventSourceParserStream } from 'eventsource-parser/stream'

const url = process.argv[2]

/** Yields every event once, over any number of connections, until the topic ends. */
async function* subscribe(url) {
  let id = ''
  let pause = 2000
  for (;;) {
    try {
      const response = await fetch(url, { headers: id ? { 'Last-Event-ID': id } : {} })
      if (response.status === 204) return
      if (response.status >= 400 && response.status < 500 && response.status !== 429)
        throw Object.assign(new Error(await response.text()), { isFinal: true })
      if (response.ok) {
        id ||= response.headers.get('Tailwater-Cursor') ?? ''
        const parser = new EventSourceParserStream({ onRetry: retry => (pause = retry) })
        for await (const event of response.body.pipeThrough(new TextDecoderStream()).pipeThrough(parser)) {
          id = event.id ?? id
          yield event
        }
      }
    } catch (error) {
      if (error.isFinal) throw error // any other error is a connection that broke
    }
    await new Promise(resolve => setTimeout(resolve, pause))
  }
}

for await (const event of subscribe(url)) console.log(event.data)
