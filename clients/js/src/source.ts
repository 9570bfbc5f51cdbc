// The source of a subscription's steps: a reader of its own, or one that it shares.

import { Cursor } from './cursor.js';
import { Gateway } from './gateway.js';
import type { Options } from './options.js';
import { Reader, type Step } from './reader.js';
import { load, save } from './store.js';

export interface Source {
  readonly topics: readonly string[];
  /** Connects, and yields each step when it is asked for. Throws final errors. */
  steps(): AsyncGenerator<Step, void>;
  close(): void;
  change(topics: Iterable<string>): void;
}

/** Opens a source that is shared, from the place of this cursor; `undefined` where nothing can be shared. */
export type Shared = (gateway: Gateway, cursor: Cursor) => Source | undefined;

export interface Opened {
  gateway: Gateway;
  /** The cursor after the steps that were taken. */
  cursor: Cursor;
  source: Source;
  /** Keeps the cursor, if it is to outlive the page. */
  keep: () => void;
}

/** `isEnveloped`: each event is to tell its topic, position and time. */
export function open(url: string, options: Options, isEnveloped: boolean): Opened {
  const { shared, persist } = options;
  const gateway = new Gateway(url, options);
  const { topics } = gateway;
  // Without `from`, which a page may compute anew each time.
  const key = `tailwater ${gateway.url(topics).replace(/&from=[^&]*/, '')}`;
  const cursor = new Cursor(load(persist, key) ?? { id: gateway.cursor, topics });
  const source = shared?.(gateway, cursor) ?? new Reader(gateway, topics, cursor, isEnveloped);
  return { gateway, cursor, source, keep: () => persist && save(persist, key, cursor) };
}
