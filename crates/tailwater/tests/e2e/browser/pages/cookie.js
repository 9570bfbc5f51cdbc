// A page that exchanges its token for a stream cookie, and opens a plain EventSource.
const ATTEMPTS_MAX = 20
const url = new URL(`${BASE}/v1/events?topic=steady`)
const exchange = async () => {
  const request = {
    method: 'POST',
    credentials: 'include',
    headers: { authorization: `Bearer ${await token()}` },
    body: JSON.stringify({ topics: ['steady'], cookie: true }),
  }
  for (let attempt = 1; page.answered === null && attempt <= ATTEMPTS_MAX; attempt += 1) {
    const answer = await fetch(`${BASE}/v1/tickets`, request).catch(() => null)
    if (answer) page.answered = answer.status
    else await new Promise(later => setTimeout(later, 500))
  }
}
const open = () => {
  const source = new EventSource(url, { withCredentials: WITH_CREDENTIALS })
  const keep = e => { if (e.lastEventId) url.searchParams.set('last_event_id', e.lastEventId) }
  source.onmessage = keep
  source.addEventListener('tailwater.ready', keep)
  source.addEventListener('tailwater.reconnect', async e => {
    keep(e)
    if (JSON.parse(e.data).reason !== 'token_expired') return // the browser comes back by itself
    source.close()
    page.answered = null
    await exchange()
    open()
  })
}
await exchange()
open()
