import EventSource from 'react-native-sse'

const source = new EventSource(url)
source.addEventListener('message', event => console.log(event.data))
