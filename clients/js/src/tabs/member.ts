// One tab of those that share a stream.
//
// The leader posts each step with its number. A tab that has the step before takes it; any other catches up by
// long-polls from its own cursor, and drops the events that it has had. So nothing depends on the posts that a
// browser drops, nor on the order in which leaders come and go. Any tab can lead next, from its own cursor.

import { type Cursor, isBehind } from '../cursor.js';
import type { Gateway } from '../gateway.js';
import { Queue } from '../queue.js';
import { Reader, type Step } from '../reader.js';
import { onPage } from '../wake.js';
import { Candidate } from './candidate.js';
import { Leader } from './leader.js';
import { type OverPost, type Post, type StatePost, type StepPost, unpackError } from './post.js';

/** Posts that may wait in a tab whose subscriber is slow. Beyond, the tab catches up by long-polls. */
const INBOX_MAX = 1000;
/** Silence after which a tab asks for the leader, in milliseconds, and half as much at random. */
const PING = 3000;
/** Questions without an answer, after which a tab takes the lead. */
const PINGS_MAX = 2;

export class Member {
  readonly #gateway: Gateway;
  readonly #topics: readonly string[];
  readonly #cursor: Cursor;
  readonly #channel: BroadcastChannel;
  readonly #candidate: Candidate;
  readonly #inbox = new Queue<StatePost | StepPost | OverPost | undefined>(INBOX_MAX);
  #leader: Leader | undefined;
  /** Reads while this tab catches up. */
  #reader: Reader | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The greatest term that this tab has heard of. */
  #term = 0;
  /** The leader's step up to which this tab has been told everything. */
  #synced = { term: 0, seq: 0 };
  /** The topics of which this tab has been told the end. */
  readonly #ended = new Set<string>();
  #hasMet = false;
  #isOpen = false;
  #isClosed = false;
  #isAsking = false;
  /** Questions since a leader was heard. */
  #pings = 0;

  constructor(group: string, gateway: Gateway, topics: readonly string[], cursor: Cursor) {
    const name = `tailwater ${group} ${gateway.url(topics)}`;
    this.#gateway = gateway;
    this.#topics = topics;
    this.#cursor = cursor;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data as Post);
    this.#candidate = new Candidate(
      name,
      () => this.#lead(),
      () => this.#leader?.stop(),
    );
  }

  /** Yields each step of the shared stream. Throws final errors. */
  async *steps(): AsyncGenerator<Step, void> {
    const enter = () => {
      this.#candidate.enter();
      this.#ask();
    };
    // A tab that sleeps must neither lead nor be the next to lead.
    const stop = onPage(() => this.#candidate.leave(), enter);
    this.#tick();
    enter();
    try {
      for (;;) {
        const post = await this.#inbox.take();
        if (!post) return;
        if (post.term < this.#term) continue;
        if (post.kind === 'over') return yield* this.#finish(post);
        if (post.kind === 'state') yield* this.#meet(post);
        else if (this.#isSynced(post, 1)) yield* this.#follow(post);
        else this.#ask();
      }
    } finally {
      stop();
      this.close();
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#candidate.leave();
    this.#reader?.close();
    clearTimeout(this.#timer);
    this.#channel.close();
    this.#inbox.push(undefined);
  }

  async #lead(): Promise<void> {
    // Greater than the terms of all earlier leaders, also of those that this tab has not heard.
    const term = Math.max(Date.now(), this.#term + 1) + Math.random();
    const leader = new Leader(this.#gateway, this.#topics, this.#cursor, term, (post) => {
      this.#send(post);
      this.#hear(post);
    });
    this.#leader = leader;
    await leader.run();
    this.#leader = undefined;
  }

  #send(post: Post): void {
    if (!this.#isClosed) this.#channel.postMessage(post);
  }

  #hear(post: Post): void {
    if (post.kind === 'hello') {
      if (this.#leader) this.#send(this.#leader.state);
    } else if (post.term >= this.#term) {
      this.#term = post.term;
      // A later leader has taken the lead from this tab, which has not noticed yet.
      if (this.#leader && this.#leader.term < post.term) this.#leader.stop();
      this.#pings = 0;
      this.#inbox.push(post);
    }
  }

  #ask(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#send({ kind: 'hello' });
  }

  /** Asks for the leader now and then, and takes the lead if there is no answer. */
  #tick(): void {
    this.#timer = setTimeout(
      () => {
        if (this.#leader) this.#pings = 0;
        if (this.#pings++ >= PINGS_MAX) {
          this.#pings = 0;
          this.#candidate.steal();
        }
        this.#isAsking = false;
        this.#ask();
        this.#tick();
      },
      PING * (1 + Math.random() / 2),
    );
  }

  /** Compares this tab with a leader, and catches up if it is behind. */
  async *#meet(post: StatePost): AsyncGenerator<Step> {
    const { term, seq, place, isOpen, ended } = post;
    this.#isAsking = false;
    if (this.#isSynced(post)) return;
    const cursor = this.#cursor;
    const isFresh = cursor.id === '';
    if (isFresh && !hasPast(this.#gateway)) {
      cursor.adopt(place);
    } else if (isBehind(cursor.told, place.told) || (place.id !== cursor.id && (isFresh || !this.#hasMet))) {
      yield* this.#catchUp();
      // The gateway that answered may lag behind the leader's. A stream waits for it.
      if (isBehind(cursor.told, place.told)) return this.#candidate.steal();
    }
    this.#hasMet = true;
    this.#synced = { term, seq };
    if (isOpen && !this.#isOpen) {
      yield this.#show({
        kind: 'ready',
        content: { outcome: isFresh ? 'live' : 'exact', cursor: cursor.id },
      });
    }
    // Long-polls do not tell the end of a topic beside others.
    for (const topic of ended) {
      if (!this.#ended.has(topic)) yield this.#show({ kind: 'end', content: { topic } });
    }
  }

  /** Reads from this tab's own cursor up to the tail. */
  async *#catchUp(): AsyncGenerator<Step> {
    this.#reader = new Reader(this.#gateway, this.#topics, this.#cursor, true, true);
    for await (const step of this.#reader.steps()) yield this.#show(step);
  }

  /** Returns true if a post is so many steps after the last one that this tab has. */
  #isSynced({ term, seq }: StatePost | StepPost | OverPost, steps = 0): boolean {
    return term === this.#synced.term && seq === this.#synced.seq + steps;
  }

  *#follow({ term, seq, id, step }: StepPost): Generator<Step> {
    this.#synced = { term, seq };
    if (step.kind === 'lost') yield this.#show({ kind: 'lost', error: unpackError(step.error) });
    else if (this.#cursor.accept(step, id, this.#topics)) yield this.#show(step);
  }

  #show(step: Step): Step {
    this.#isOpen = step.kind !== 'lost';
    if (step.kind === 'end') this.#ended.add(step.content.topic);
    if (step.kind === 'reopened') this.#ended.delete(step.content.topic);
    return step;
  }

  async *#finish(post: OverPost): AsyncGenerator<Step, void> {
    if (post.error) throw unpackError(post.error);
    if (!this.#isSynced(post)) yield* this.#catchUp();
  }
}

/** Returns true if a subscription without a cursor begins with events of the past. */
function hasPast(gateway: Gateway): boolean {
  return gateway.has('from=') && !gateway.has('from=latest');
}
