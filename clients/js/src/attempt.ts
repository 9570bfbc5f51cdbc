// One attempt to read: a request, its time-outs and its end.

import type { Cursor } from './cursor.js';
import { refusal, TailwaterError } from './error.js';
import type { Gateway } from './gateway.js';
import { Watchdog } from './watchdog.js';

/** Longest wait for the first byte, in milliseconds. A gateway may wait 5 s for its log. */
const FIRST_BYTE = 10_000;

/**
 * The way in which a transport ends by itself: all topics have `finished`; the stream is `broken`; the long-poll is
 * `answered`, or answered without an event (`idle`).
 */
export type Ending = 'finished' | 'broken' | 'answered' | 'idle';

export class Attempt {
  readonly topics: readonly string[];
  readonly #gateway: Gateway;
  readonly cursor: Cursor;
  readonly #controller = new AbortController();
  #reject: (error: TailwaterError) => void = () => {};
  readonly watchdog = new Watchdog(() => this.end('silent', 'the gateway is silent'));
  ending: Ending = 'broken';
  /** True once a byte of the body has come. */
  hasBytes = false;
  /** The reason for which the client has ended the attempt. */
  ended: TailwaterError | undefined;
  /** Longest silence on a stream, in milliseconds. */
  silence: number;

  constructor(gateway: Gateway, topics: readonly string[], cursor: Cursor, silence: number) {
    this.#gateway = gateway;
    this.topics = topics;
    this.cursor = cursor;
    this.silence = silence;
  }

  /** Ends the attempt, and makes its reads fail. Only the first call counts. */
  end(code: string, message = code): void {
    this.ended ??= new TailwaterError(message, { code });
    this.watchdog.disarm();
    this.#controller.abort();
    this.#reject(this.ended);
  }

  /**
   * Asks for events, and waits for the answer for so many milliseconds beside those for the first byte. Returns
   * `undefined` if all topics have ended and the client has everything. Throws a `TailwaterError` for any answer but
   * a 200 of this type.
   */
  async ask(accept: string, wait: number, ...parameters: string[]): Promise<Response | undefined> {
    this.watchdog.arm((this.#gateway.options.firstByte ?? FIRST_BYTE) + wait);
    // A callback for a token does not hear the signal, so the end of the attempt has to win a race.
    const ended = new Promise<never>((_, reject) => {
      this.#reject = reject;
    });
    const response = await Promise.race([this.#send(accept, parameters), ended]);
    const { status, headers } = response;
    if (status === 204) {
      this.ending = 'finished';
      return undefined;
    }
    if (status !== 200) throw await refusal(response);
    const type = headers.get('content-type') ?? 'of no type';
    if (type.startsWith(accept)) return response;
    throw new TailwaterError(`the answer is ${type}, not ${accept}`, { status, code: 'not_a_stream' });
  }

  async #send(accept: string, parameters: string[]): Promise<Response> {
    const { options, credentials } = this.#gateway;
    const { headers: given, fetch = globalThis.fetch, withCredentials } = options;
    // `no-store`: otherwise the requests of several tabs for one URL wait for each other at the browser's cache.
    const init: RequestInit = { signal: this.#controller.signal, cache: 'no-store' };
    if (withCredentials) init.credentials = 'include';
    const headers = { ...(typeof given === 'function' ? await given() : given) };
    const ticket = await credentials.put(headers, this.topics, init);
    const { header, parameter } = this.cursor.resume(this.topics);
    if (header) headers['last-event-id'] = header;
    headers.accept = accept;
    return fetch(this.#gateway.url(this.topics, ...parameters, parameter, ticket), { ...init, headers });
  }
}
