import EventSource from 'react-native-sse'

const PAUSE = 3000
let id = ''

function open() {
  const source = new EventSource(id ? `${url}&last_event_id=${id}` : url)
  source.addEventListener('message', event => {
    id = event.lastEventId
    console.log(event.data)
  })
  source.addEventListener('tailwater.end', () => source.close())
  source.addEventListener('error', () => {
    source.close()
    setTimeout(open, PAUSE)
  })
}

open()
