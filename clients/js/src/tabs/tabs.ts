// A subscription that shares its stream with other tabs.

import type { Cursor } from '../cursor.js';
import { type Gateway, sorted } from '../gateway.js';
import type { Step } from '../reader.js';
import type { Member } from './member.js';

/** Returns true if this environment has what tabs need: a secure context of a browser. */
export function canShare(): boolean {
  return Boolean(globalThis.navigator?.locks && globalThis.BroadcastChannel);
}

export class Tabs {
  topics: readonly string[];
  readonly #gateway: Gateway;
  readonly #cursor: Cursor;
  #member: Member | undefined;
  #isClosed = false;

  constructor(gateway: Gateway, topics: readonly string[], cursor: Cursor) {
    this.#gateway = gateway;
    this.topics = topics;
    this.#cursor = cursor;
  }

  async *steps(): AsyncGenerator<Step, void> {
    // A part of its own for bundlers: most pages do not share.
    const { Member } = await import('./member.js');
    while (!this.#isClosed) {
      const { topics } = this;
      this.#member = new Member(this.#gateway, topics, this.#cursor);
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
