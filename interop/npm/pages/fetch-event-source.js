import { fetchEventSource } from '@microsoft/fetch-event-source'

fetchEventSource(url, { onmessage: event => console.log(event.data) })
