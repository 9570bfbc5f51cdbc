// One stream for all tabs of an origin that subscribe to the same.

import type { Cursor } from './cursor.js';
import { type Gateway, sorted } from './gateway.js';
import type { Step } from './reader.js';
import type { Shared, Source } from './source.js';
import { Member } from './tabs/member.js';

/**
 * Returns the option `shared`. A name keeps apart what must not be shared, such as the id of the user. Where tabs
 * cannot share, outside secure contexts of browsers, each has a stream of its own.
 */
export function tabs(name = ''): Shared {
  return (gateway, cursor) =>
    globalThis.navigator?.locks && globalThis.BroadcastChannel ? new Tabs(name, gateway, cursor) : undefined;
}

class Tabs implements Source {
  topics: readonly string[];
  readonly #name: string;
  readonly #gateway: Gateway;
  readonly #cursor: Cursor;
  #member: Member | undefined;
  #isClosed = false;

  constructor(name: string, gateway: Gateway, cursor: Cursor) {
    this.#name = name;
    this.#gateway = gateway;
    this.#cursor = cursor;
    this.topics = gateway.topics;
  }

  async *steps(): AsyncGenerator<Step, void> {
    while (!this.#isClosed) {
      const { topics } = this;
      this.#member = new Member(this.#name, this.#gateway, topics, this.#cursor);
      yield* this.#member.steps();
      if (topics === this.topics) return;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#member?.close();
  }

  /** Leaves the tabs that read the old topics, and joins those that read the new ones. */
  change(topics: Iterable<string>): void {
    this.topics = sorted(topics);
    this.#gateway.credentials.next(undefined);
    this.#member?.close();
  }
}
