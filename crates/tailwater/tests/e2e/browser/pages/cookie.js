// A page that exchanges its token for a stream cookie and opens a plain EventSource.
window.got = []; window.readies = []; window.told = []; window.failed = 0; window.answered = 0
const asked = await fetch(`${BASE}/v1/tickets`, {
  method: 'POST',
  credentials: 'include',
  headers: { authorization: `Bearer ${TOKEN}` },
  body: JSON.stringify({ topics: ['steady'], cookie: true }),
})
window.answered = asked.status
const source = new EventSource(`${BASE}/v1/events?topic=steady`, { withCredentials: WITH_CREDENTIALS })
source.onmessage = e => got.push([e.lastEventId, e.data])
source.onerror = () => { if (source.readyState === EventSource.CLOSED) failed += 1 }
source.addEventListener('tailwater.ready', e => readies.push(JSON.parse(e.data)))
source.addEventListener('tailwater.reconnect', e => told.push(JSON.parse(e.data).reason))
