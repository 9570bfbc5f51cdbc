// The tab that reads the stream: it posts each step to all tabs, itself included.

import { Cursor, type Place } from '../cursor.js';
import { wrap } from '../error.js';
import type { Gateway } from '../gateway.js';
import { Reader } from '../reader.js';
import { type Post, packError, type StatePost } from './post.js';

/** The lead is held for so long after the end, in milliseconds: all tabs are to hear of the end before one of them leads. */
const HOLD = 1000;

export class Leader {
  readonly term: number;
  readonly #post: (post: Post) => void;
  readonly #cursor: Cursor;
  readonly #reader: Reader;
  readonly #ended = new Set<string>();
  #seq = 0;
  #isOpen = false;
  #isStopped = false;

  /** Goes on from the place of this tab. */
  constructor(
    gateway: Gateway,
    topics: readonly string[],
    place: Place,
    term: number,
    post: (post: Post) => void,
  ) {
    this.term = term;
    this.#post = post;
    this.#cursor = new Cursor(place);
    this.#reader = new Reader(gateway, topics, this.#cursor, true);
  }

  get state(): StatePost {
    // A copy of the cursor: the posts of this tab to itself are not cloned.
    const place = new Cursor(this.#cursor);
    const ended = [...this.#ended];
    return { kind: 'state', term: this.term, seq: this.#seq, place, isOpen: this.#isOpen, ended };
  }

  /** Reads until it is stopped, or until the subscription is over for all tabs. */
  async run(): Promise<void> {
    const { term } = this;
    this.#post(this.state);
    let error: ReturnType<typeof packError> | undefined;
    try {
      for await (const step of this.#reader.steps()) {
        const { kind } = step;
        this.#isOpen = kind !== 'lost';
        if (kind === 'end') this.#ended.add(step.content.topic);
        if (kind === 'reopened') this.#ended.delete(step.content.topic);
        const plain = kind === 'lost' ? { kind, error: packError(step.error) } : step;
        this.#post({ kind: 'step', term, seq: ++this.#seq, step: plain, id: this.#cursor.id });
      }
    } catch (thrown) {
      error = packError(wrap(thrown));
    }
    if (this.#isStopped) return;
    this.#post({ kind: 'over', term, seq: this.#seq, error });
    await new Promise((resolve) => setTimeout(resolve, HOLD));
  }

  stop(): void {
    this.#isStopped = true;
    this.#reader.close();
  }
}
