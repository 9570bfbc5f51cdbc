// A hook of React that reads topics while its component is mounted.

'use client';

import { type SetStateAction, useEffect, useRef, useState } from 'react';
import { TailwaterError } from './error.js';
import type { Storage } from './store.js';
import { type SubscribeOptions, type Subscription, subscribe, type TailwaterEvent } from './subscribe.js';

export interface HookOptions extends SubscribeOptions {
  /** Takes each event, once and in order. */
  onEvent: (event: TailwaterEvent) => void;
}

export interface HookState {
  /**
   * `connecting`: there is no stream yet, or no topic. `lost`: the stream is opened again. `ended`: all topics have ended.
   * `failed`: the subscription is over.
   */
  readonly status: 'connecting' | 'open' | 'lost' | 'ended' | 'failed';
  /** The reason for `lost` or `failed`. */
  readonly error?: TailwaterError;
}

const CONNECTING: HookState = { status: 'connecting' };

/**
 * Subscribes while the component is mounted, and anew if the URL changes. A change of `topics` loses no event of
 * those that stay; an empty list closes the stream. Of callbacks, `token` and `headers` the latest are called. All
 * other options are read when the component subscribes.
 */
export function useSubscription(url: string | URL, options: HookOptions): HookState {
  const href = String(url);
  const { topics } = options;
  const isOn = topics?.length !== 0;
  const [state, setState] = useState(CONNECTING);
  const latest = useRef(options);
  const place = useRef<KeptPlace>(undefined);
  const open = useRef<Opened>(undefined);

  useEffect(() => {
    latest.current = options;
  });

  useEffect(() => {
    setState(CONNECTING);
    if (!isOn) return;
    const kept = place.current?.href === href ? place.current : new KeptPlace(href);
    kept.persist = latest.current.persist;
    place.current = kept;
    let isMounted = true;
    const show: Show = (state) => isMounted && setState(state);
    const subscription = subscribe(href, { ...forwarded(latest, show), persist: kept });
    open.current = { subscription, topics: latest.current.topics ?? [] };
    void read(subscription, latest, show);
    return () => {
      isMounted = false;
      open.current = undefined;
      subscription.close();
    };
  }, [href, isOn]);

  useEffect(() => {
    if (!open.current || !topics) return;
    const { subscription, topics: before } = open.current;
    open.current.topics = topics;
    subscription.change({ add: topics, remove: before.filter((topic) => !topics.includes(topic)) });
  }, [topics]);

  return state;
}

/** A subscription, and the topics that the options named last. */
interface Opened {
  readonly subscription: Subscription;
  topics: readonly string[];
}

type Latest = { readonly current: HookOptions };
type Show = (state: SetStateAction<HookState>) => void;

/** Returns the options, whose functions call those of the latest rendering. */
function forwarded(latest: Latest, show: Show): SubscribeOptions {
  const { token } = latest.current;
  return {
    ...latest.current,
    ...(token && { token: (renew: boolean) => (latest.current.token ?? token)(renew) }),
    headers() {
      const { headers = {} } = latest.current;
      return typeof headers === 'function' ? headers() : headers;
    },
    onOpen(ready) {
      show({ status: 'open' });
      latest.current.onOpen?.(ready);
    },
    onError(error) {
      show({ status: 'lost', error });
      latest.current.onError?.(error);
    },
    onGap: (gap) => latest.current.onGap?.(gap),
    onReset: (gap) => (latest.current.onReset ?? latest.current.onGap)?.(gap),
    onBroken: (broken) => latest.current.onBroken?.(broken),
    onEnd: (end) => latest.current.onEnd?.(end),
  };
}

async function read(subscription: Subscription, latest: Latest, show: Show): Promise<void> {
  // The strict mode mounts twice in a row. The first subscription is closed by now, and sends no request.
  await undefined;
  try {
    for await (const event of subscription) latest.current.onEvent(event);
    show({ status: 'ended' });
  } catch (error) {
    show(() => {
      if (error instanceof TailwaterError) return { status: 'failed', error };
      // An error of the application's own, thrown in a rendering, reaches the nearest error boundary.
      throw error;
    });
  }
}

/** Keeps the cursor of a component that is hidden and shown again, whichever topics it reads then. */
class KeptPlace implements Storage {
  readonly href: string;
  /** The application's own storage, which outlives the page. */
  persist: Storage | undefined;
  #place: string | undefined;

  constructor(href: string) {
    this.href = href;
  }

  getItem(key: string): string | null {
    return this.#place ?? this.persist?.getItem(key) ?? null;
  }

  setItem(key: string, place: string): void {
    this.#place = place;
    this.persist?.setItem(key, place);
  }

  removeItem(key: string): void {
    this.persist?.removeItem(key);
  }
}
