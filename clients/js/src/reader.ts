// Reads topics until they end: connects, resumes, and changes the transport where streams do not arrive.

import { Attempt } from './attempt.js';
import { Backoff } from './backoff.js';
import type { Cursor } from './cursor.js';
import { TailwaterError, wrap } from './error.js';
import { type Gateway, sorted } from './gateway.js';
import type { Message, Reconnect } from './message.js';
import { Pause } from './pause.js';
import { longPoll } from './transport/long-poll.js';
import { stream } from './transport/stream.js';
import { onPage } from './wake.js';

/** A step of a subscription: a message, or the loss of a stream that will be opened again. */
export type Step = { kind: 'lost'; error: TailwaterError } | Message;

/** Seconds between heartbeats, until the gateway tells its own. */
const HEARTBEAT = 15;
/** A stream that is silent for so many heartbeats is dead. */
const HEARTBEATS_MISSED = 2.5;
/** Longest time of a timer, in milliseconds: a stream without heartbeats may be silent for ever. */
const SILENCE_MAX = 2 ** 31 - 1;
/** The pause before the first reconnect, in milliseconds, until the gateway names one. */
const RETRY = 2000;
/** The wait of a long-poll, in seconds: less than the idle time-outs of common proxies. */
const POLL_WAIT = 25;
/** The pause after a long-poll that was answered early without an event, as a draining gateway does; in milliseconds. */
const POLL_PAUSE = 1000;
/** The time after which a client whose streams did not arrive tries one again, in milliseconds. */
const STREAM_AGAIN = 3_600_000;

/**
 * `probe`: a long-poll shows if the gateway is reached although its stream is silent. `buffered`: it is, so a proxy
 * holds streams back. `poll`: this environment cannot stream. `catch-up`: long-polls up to the tail, then the end.
 */
type Transport = 'stream' | 'probe' | 'buffered' | 'poll' | 'catch-up';

export class Reader {
  readonly #gateway: Gateway;
  readonly #cursor: Cursor;
  readonly #isEnveloped: boolean;
  readonly #backoff: Backoff;
  readonly #pause = new Pause();
  readonly #finished = new Set<string>();
  topics: readonly string[];
  #transport: Transport;
  #silence: number;
  #attempt: Attempt | undefined;
  #reconnect: Reconnect | undefined;
  #isClosed = false;
  /** True from the first message of a stream until it is lost. Long-polls stay open between their answers. */
  #isOpen = false;
  #wasOpen = false;
  /** True if the credentials were renewed since the stream was open. */
  #isRenewed = false;
  /** True if the pause under way is the client's own, so that it ends when the network is back. */
  #mayWake = false;
  /** The time at which a buffered client tries a stream again. */
  #streamAgain = 0;

  constructor(
    gateway: Gateway,
    topics: readonly string[],
    cursor: Cursor,
    isEnveloped: boolean,
    catchesUp = false,
  ) {
    const { options } = gateway;
    this.#gateway = gateway;
    this.topics = topics;
    this.#cursor = cursor;
    this.#isEnveloped = isEnveloped;
    this.#backoff = new Backoff(options.retry ?? RETRY);
    this.#silence = silence(options.heartbeat ?? HEARTBEAT);
    const polls = options.transport === 'long-poll' || !(options.fetch || canStream());
    this.#transport = catchesUp ? 'catch-up' : polls ? 'poll' : 'stream';
  }

  /** Connects, and yields each step when it is asked for. Throws final errors. */
  async *steps(): AsyncGenerator<Step, void> {
    const stop = onPage(
      () => {},
      (isOnline) => this.#wake(isOnline),
    );
    try {
      for (;;) {
        const pause = yield* this.#once();
        if (pause === undefined) return;
        await this.#pause.wait(pause);
      }
    } finally {
      stop();
      this.close();
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#attempt?.end('closed');
    this.#pause.end();
  }

  /** Reads these topics from now on. Those that the cursor knows go on where they are. */
  change(topics: Iterable<string>): void {
    this.topics = sorted(topics);
    this.#gateway.credentials.next(undefined);
    // The attempt may be over already: between two long-polls.
    this.#isOpen = false;
    this.#attempt?.end('changed');
  }

  /** The page has woken up, or the network is back. */
  #wake(isOnline: boolean): void {
    if (isOnline && this.#transport === 'buffered') this.#transport = 'stream';
    this.#attempt?.watchdog.check();
    if (this.#mayWake) this.#pause.end();
  }

  /** True if the publishers have ended all topics. */
  get #isFinished(): boolean {
    return this.topics.length > 0 && this.topics.every((topic) => this.#finished.has(topic));
  }

  /** Makes one attempt. Returns the pause before the next, in milliseconds, or `undefined` at the end. */
  async *#once(): AsyncGenerator<Step, number | undefined> {
    if (this.#isClosed) return undefined;
    const begin = Date.now();
    if (this.#transport === 'buffered' && begin > this.#streamAgain) this.#transport = 'stream';
    const catchesUp = this.#transport === 'catch-up';
    // The first answer comes at once, for the outcome.
    const wait = catchesUp || !this.#isOpen ? 0 : POLL_WAIT;
    const attempt = new Attempt(this.#gateway, this.topics, this.#cursor, this.#silence);
    this.#attempt = attempt;
    this.#reconnect = undefined;
    let error: TailwaterError | undefined;
    try {
      const messages =
        this.#transport === 'stream'
          ? stream(attempt, this.#isEnveloped)
          : longPoll(attempt, wait, !this.#isOpen);
      for await (const message of messages) {
        yield* this.#take(message, attempt);
        if (attempt.ended || this.#isFinished) break;
      }
      error = attempt.ended;
    } catch (thrown) {
      error = attempt.ended ?? wrap(thrown);
    } finally {
      attempt.end('over');
    }
    const { ending } = attempt;
    if (this.#isClosed) return undefined;
    if (error?.code === 'changed') {
      this.#isOpen = false;
      return 0;
    }
    if (!error) {
      if (this.#isFinished || ending === 'finished' || (catchesUp && ending === 'idle')) return undefined;
      if (ending === 'answered') return 0;
      if (ending === 'idle') return Date.now() - begin < wait * 1000 ? POLL_PAUSE * (1 + Math.random()) : 0;
      const code = (this.#reconnect as Reconnect | undefined)?.reason ?? 'ended';
      error = new TailwaterError(`the gateway has closed the stream: ${code}`, { code });
    }
    return yield* this.#lose(error, attempt);
  }

  /** Takes a message in, and yields it if the subscriber has not had it. */
  *#take(message: Message, attempt: Attempt): Generator<Step> {
    const { kind, content, id, retry } = message;
    if (retry !== undefined) this.#backoff.retry = retry;
    if (kind === 'reconnect') {
      this.#reconnect = content;
      if (content.ticket) this.#gateway.credentials.next(content.ticket);
      // Its id is the cursor that the client has or has sent, so there is nothing to move.
      yield message;
      return;
    }
    this.#isOpen = this.#wasOpen = true;
    this.#isRenewed = false;
    this.#backoff.succeed();
    if (this.#transport === 'probe') {
      this.#transport = 'buffered';
      this.#streamAgain = Date.now() + STREAM_AGAIN;
    }
    if (kind === 'ready') {
      const { heartbeat, ticket } = content;
      if (heartbeat !== undefined) this.#silence = attempt.silence = silence(heartbeat);
      if (ticket) this.#gateway.credentials.next(ticket);
    }
    if (kind === 'end') this.#finished.add(content.topic);
    if (kind === 'reopened') this.#finished.delete(content.topic);
    if (this.#cursor.accept(message, id, attempt.topics)) yield message;
  }

  /** Decides what follows an error: throws it, or yields it and returns the pause. */
  *#lose(error: TailwaterError, attempt: Attempt): Generator<Step, number> {
    const { status, code, isFinal, retryAfter } = error;
    const transport = this.#transport;
    // A stream that was open and ends with its token is opened again after a pause, as any other.
    const isRefused = status === 401 || (code === 'token_expired' && !this.#isOpen);
    this.#isOpen = false;
    const canRenew = (isRefused || code === 'token_expired') && this.#gateway.credentials.renew();
    if (canRenew && isRefused && !this.#isRenewed) {
      this.#isRenewed = true;
      return 0;
    }
    if (code === 'no_body') {
      this.#transport = 'poll';
      return 0;
    }
    if (isFinal || (code === 'not_a_stream' && !this.#wasOpen)) throw error;
    yield { kind: 'lost', error };
    if (transport === 'probe') this.#transport = 'stream';
    if (transport === 'stream' && code === 'silent' && !attempt.hasBytes) {
      this.#transport = 'probe';
      return 0;
    }
    this.#mayWake = status === undefined && this.#reconnect === undefined;
    return this.#backoff.next(retryAfter);
  }
}

function silence(heartbeat: number | null): number {
  return heartbeat === null ? SILENCE_MAX : heartbeat * 1000 * HEARTBEATS_MISSED;
}

/** React Native's fetch gives a body as a whole, so a request for a stream would wait for its end. */
function canStream(): boolean {
  return typeof Response === 'function' && 'body' in Response.prototype;
}
