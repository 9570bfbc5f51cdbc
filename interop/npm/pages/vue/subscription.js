import { subscribe } from '@tailwater/client'
import { onMounted, onUnmounted, ref, toValue, watch } from 'vue'

/** Reads topics while the component is mounted, and returns the state of the stream. */
export function useSubscription(url, { topics = [], onEvent, ...options }) {
  const status = ref('connecting')
  let subscription

  onMounted(async () => {
    subscription = subscribe(url, {
      ...options,
      topics: toValue(topics),
      onOpen: () => (status.value = 'open'),
      onError: () => (status.value = 'lost'),
    })
    try {
      for await (const event of subscription) onEvent(event)
    } finally {
      status.value = 'over'
    }
  })
  watch(() => [...toValue(topics)], (topics, before) => {
    subscription?.change({ add: topics, remove: before.filter(topic => !topics.includes(topic)) })
  })
  onUnmounted(() => subscription.close())

  return status
}
