// Asks an API that streams, and shows the answer. The first reading is of the answer itself. After a reload, or
// when the connection breaks, the page reads the answer again at its Location, by the browser's own EventSource.

const $ = id => document.getElementById(id)
const ANSWERS = '/v1/events?topic=relay/'

let source = null
let address = null
let count = 0

$('ask').addEventListener('submit', event => {
  event.preventDefault()
  ask().catch(error => show('broken', `broken: ${error.message}`))
})
$('stop').addEventListener('click', () => fetch(address, { method: 'DELETE' }))

// The address of the answer is all that the page keeps.
const kept = decodeURIComponent(location.hash.slice(1))
if (kept.startsWith(ANSWERS)) follow(kept)

async function ask() {
  begin('the upstream')
  remember(null)
  const headers = { 'content-type': 'application/json' }
  if ($('key').value) headers.authorization = `Bearer ${$('key').value}`
  const content = $('question').value
  const body = JSON.stringify({ model: $('model').value, stream: true, messages: [{ role: 'user', content }] })
  const response = await fetch($('path').value, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`${response.status} ${(await response.text()).slice(0, 300)}`)
  remember(response.headers.get('location'))
  try {
    await read(response.body)
  } catch (error) {
    if (!address) throw error
    follow(address)
  }
}

/** Reads an event stream to its end. */
async function read(body) {
  let text = ''
  for await (const part of body.pipeThrough(new TextDecoderStream())) {
    text += part.replaceAll('\r\n', '\n')
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const lines = text.slice(0, end).split('\n').filter(line => line.startsWith('data:'))
      if (lines.length) take(lines.map(line => line.slice(5).trimStart()).join('\n'))
    }
  }
  if ($('card').dataset.state === 'running') show('complete', 'complete')
}

/** Reads an answer from its beginning, and goes on until it ends. */
function follow(location) {
  begin('the log')
  remember(location)
  source = new EventSource(location)
  source.onmessage = event => take(event.data)
  // Events of the upstream that are called error, and the browser's own, which have no data.
  source.addEventListener('error', event => {
    if (event.data) return take(event.data)
    if (source.readyState === EventSource.CLOSED) show('complete', 'complete')
  })
  for (const type of ['response.output_text.delta', 'response.completed', 'content_block_delta', 'message_stop']) {
    source.addEventListener(type, event => take(event.data))
  }
}

/** Shows one event of an answer. */
function take(data) {
  $('events').textContent = ++count
  if (data === '[DONE]') return finish('complete', 'complete')
  const event = JSON.parse(data)
  if (event.error) return finish('broken', `broken: ${event.error.message}`)
  $('answer').textContent += event.choices?.[0]?.delta?.content ?? event.delta?.text ??
    (typeof event.delta === 'string' ? event.delta : '')
  if (event.type === 'response.completed' || event.type === 'message_stop') finish('complete', 'complete')
}

function begin(from) {
  source?.close()
  count = 0
  $('answer').textContent = ''
  $('events').textContent = '0'
  $('from').textContent = from
  show('running', 'running')
}

function finish(state, text) {
  source?.close()
  show(state, text)
}

function show(state, text) {
  $('card').dataset.state = state
  $('state').textContent = text
  $('stop').disabled = state !== 'running' || !address
}

function remember(location) {
  address = location
  history.replaceState(null, '', location ? `#${encodeURIComponent(location)}` : '#')
  $('location').textContent = location ?? '–'
  $('location').href = location ?? '#'
  $('stop').disabled = !location
}
