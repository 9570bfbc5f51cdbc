// A page of another site: tickets instead of cookies, a new one for each stream, and a new token when the old one is over.
window.got = []; window.readies = []; window.told = []; window.failed = 0
const tokens = TOKENS
const url = new URL(`${BASE}/v1/events?topic=steady`)
let cursor = ''
const take = e => { if (e.lastEventId) cursor = e.lastEventId }
const begin = async () => {
  const token = tokens.length > 1 ? tokens.shift() : tokens[0]
  const asked = await fetch(`${BASE}/v1/tickets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ topics: ['steady'] }),
  })
  url.searchParams.set('ticket', (await asked.json()).ticket)
  open()
}
const open = () => {
  if (cursor) url.searchParams.set('last_event_id', cursor)
  const source = new EventSource(url)
  source.onmessage = e => { take(e); got.push([e.lastEventId, e.data]) }
  source.addEventListener('tailwater.ready', e => {
    take(e)
    readies.push(JSON.parse(e.data))
    url.searchParams.set('ticket', JSON.parse(e.data).ticket)
  })
  source.addEventListener('tailwater.reconnect', e => {
    take(e)
    const { reason, ticket } = JSON.parse(e.data)
    told.push(reason)
    source.close()
    if (reason === 'token_expired') { begin(); return }
    if (ticket) url.searchParams.set('ticket', ticket)
    setTimeout(open, 500)
  })
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) { failed += 1; return }
    source.close()
    setTimeout(open, 500)
  }
}
begin()
