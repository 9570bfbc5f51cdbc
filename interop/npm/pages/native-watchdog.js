const SILENCE_MAX = 7500 // 2.5 heartbeats of 3 s

let id = ''
let timer

function open() {
  const source = new EventSource(id ? `${url}&last_event_id=${id}` : url)
  const watch = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      source.close()
      open()
    }, SILENCE_MAX)
  }
  const hear = event => {
    id = event.lastEventId
    watch()
  }
  source.addEventListener('message', event => {
    hear(event)
    console.log(event.data)
  })
  source.addEventListener('tailwater.ready', hear)
  source.addEventListener('tailwater.heartbeat', hear)
  source.addEventListener('tailwater.end', () => {
    source.close()
    clearTimeout(timer)
  })
  watch()
}

open()
