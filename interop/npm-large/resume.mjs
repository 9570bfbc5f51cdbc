const sleep = pause => new Promise(resolve => setTimeout(resolve, pause))

/**
 * Returns a `fetch` for an SDK. Its answer is the stream of a topic, which goes on over any number of
 * connections and ends when the topic does. It begins after the id that the SDK sends, if it sends one. The
 * URL has `control=off`.
 */
export function resumingFetch(url) {
  return async (_, { signal, headers } = {}) => {
    const id = new Headers(headers).get('Last-Event-ID') ?? ''
    const body = ReadableStream.from(blocks(url, id, signal)).pipeThrough(new TextEncoderStream())
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
}

/** Yields whole events. One that was cut off comes again, because its id was not kept. */
async function* blocks(url, id, signal) {
  let pause = 2000
  for (;;) {
    try {
      const response = await fetch(url, { signal, headers: id ? { 'Last-Event-ID': id } : {} })
      if (response.status === 204) return
      if (response.ok) {
        id ||= response.headers.get('Tailwater-Cursor') ?? ''
        let text = ''
        for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
          text += part
          for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
            const block = text.slice(0, end)
            id = /^id: (.*)$/m.exec(block)?.[1] ?? id
            pause = Number(/^retry: (\d+)$/m.exec(block)?.[1] ?? pause)
            yield `${block}\n\n`
          }
        }
      } else if (response.status < 500 && response.status !== 429) {
        throw Object.assign(new Error(await response.text()), { isFinal: true })
      }
    } catch (error) {
      if (error.isFinal || signal?.aborted) throw error // any other error is a connection that broke
    }
    await sleep(pause)
  }
}
