// A subscription as an async iterator of events.

import type { TailwaterError } from './error.js';
import { sorted } from './gateway.js';
import { type Broken, type End, type Envelope, type Gap, isReset, type Ready } from './message.js';
import type { Options } from './options.js';
import { open } from './source.js';

/** An event of a publisher. Its type is `message` if the publisher gave none. */
export type TailwaterEvent = Envelope & { type: string };

export interface SubscribeOptions extends Options {
  /** Ends the subscription. */
  signal?: AbortSignal;
  /** The stream is there. Its outcome tells if the events follow on those before. */
  onOpen?: (ready: Ready) => void;
  /** Events were missed: they can no longer be read. */
  onGap?: (gap: Gap) => void;
  /** The topic, or its numbering, is not the one that was read so far. Default: `onGap`. */
  onReset?: (gap: Gap) => void;
  /** The publisher of a topic broke off; another may go on. */
  onBroken?: (broken: Broken) => void;
  /** The publisher has ended a topic. */
  onEnd?: (end: End) => void;
  /** The stream was lost, and is opened again. A final error is thrown by the iterator instead. */
  onError?: (error: TailwaterError) => void;
}

export interface Subscription extends AsyncIterableIterator<TailwaterEvent, void> {
  /** The cursor after the last event that was taken. */
  readonly cursor: string;
  readonly topics: readonly string[];
  /**
   * Changes the topics, if these do. Those that stay lose no event; new ones begin at `from`. Topics that a pattern
   * before or after the change covers stay.
   */
  change(topics: { add?: readonly string[]; remove?: readonly string[] }): void;
  /** Ends the subscription, also while an event is awaited. */
  close(): void;
}

/** Subscribes when the first event is asked for. Events that are not asked for wait at the gateway. */
export function subscribe(url: string | URL, options: SubscribeOptions = {}): Subscription {
  const { source, cursor, keep } = open(String(url), options, true);
  const { signal, onOpen, onGap, onReset = onGap, onBroken, onEnd, onError } = options;
  const close = () => source.close();

  async function* read(): AsyncGenerator<TailwaterEvent, void> {
    if (signal?.aborted) return;
    signal?.addEventListener('abort', close);
    try {
      for await (const step of source.steps()) {
        if (step.kind === 'lost') onError?.(step.error);
        else keep();
        if (step.kind === 'ready') onOpen?.(step.content);
        if (step.kind === 'gap') (isReset(step.content) ? onReset : onGap)?.(step.content);
        if (step.kind === 'broken') onBroken?.(step.content);
        if (step.kind === 'end') onEnd?.(step.content);
        if (step.kind === 'event')
          yield { ...(step.content as Envelope), type: step.content.type ?? 'message' };
      }
    } finally {
      signal?.removeEventListener('abort', close);
      close();
    }
  }

  const events = read();
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => events.next(),
    return() {
      close();
      return events.return();
    },
    close,
    change({ add = [], remove = [] }) {
      const topics = sorted([...source.topics, ...add]).filter((topic) => !remove.includes(topic));
      if (topics.length === 0) throw new RangeError('a subscription needs a topic');
      if (JSON.stringify(topics) !== JSON.stringify(source.topics)) source.change(topics);
    },
    get cursor() {
      return cursor.id;
    },
    get topics() {
      return source.topics;
    },
  };
}
