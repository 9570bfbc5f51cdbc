import { useSubscription } from '@tailwater/client/react'
import { useState } from 'react'

export function Events({ url, topics }) {
  const [events, setEvents] = useState([])
  const { status } = useSubscription(url, {
    topics,
    onEvent: event => setEvents(events => [...events, event].slice(-1000)),
  })
  return (
    <section aria-busy={status !== 'open'}>
      {events.map(({ topic, id, data }) => (
        <p key={topic + id}>{data}</p>
      ))}
    </section>
  )
}
