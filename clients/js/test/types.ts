// The public types, as an application uses them. It is only compiled.

import { type ErrorEvent, EventSource, type Gap, subscribe, TailwaterError } from '../src/index.js';
import { type HookState, useSubscription } from '../src/react.js';
import { tabs } from '../src/tabs.js';

export async function read(signal: AbortSignal): Promise<string[]> {
  const gaps: Gap[] = [];
  const events = subscribe(new URL('https://example.com/v1/events'), {
    topics: ['a', 'orders/*', 'orders/**'],
    token: async (renew) => (renew ? 'new' : 'old'),
    headers: { 'x-app': 'shop' },
    persist: sessionStorage,
    shared: tabs('user-7'),
    signal,
    onOpen: ({ outcome, node }) => outcome === 'exact' || node?.length,
    onGap: (gap) => gaps.push(gap) && (gap.missed ?? gap.missed_at_most)?.toFixed(),
    onError: (error) => error instanceof TailwaterError && error.status === 503,
  });
  const data: string[] = [];
  for await (const event of events) {
    data.push(event.topic, event.type, event.data, event.id, event.time);
    events.change({ add: ['b'], remove: ['a'] });
  }
  return data;
}

export function listen(): globalThis.EventSource['readyState'] {
  const source = new EventSource('/v1/events?topic=a', { withCredentials: true });
  source.onmessage = ({ data, lastEventId }) => data + lastEventId;
  source.onerror = ({ error }: ErrorEvent) => error?.code;
  source.addEventListener('shipped', ({ data }) => data.length);
  source.addEventListener('error', ({ error }) => error?.message, { once: true });
  source.close();
  // @ts-expect-error: an event has no such property
  source.onopen = ({ outcome }) => outcome;
  return source.readyState;
}

export function useNews(topics: readonly string[]): HookState['status'] {
  const { status, error } = useSubscription('/v1/events', {
    topics,
    from: '-10',
    onEvent: ({ topic, data }) => topic + data,
    onGap: ({ missed }) => missed?.toFixed(),
  });
  // @ts-expect-error: an event goes nowhere
  useSubscription('/v1/events', { topics });
  return error?.isFinal ? 'failed' : status;
}
