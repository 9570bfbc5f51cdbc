// A class with the interface of the browsers' `EventSource`.

import type { TailwaterError } from './error.js';
import type { Bare } from './message.js';
import type { Options } from './options.js';
import { type Opened, open } from './source.js';

/** The event `error`: the stream was lost, and is opened again unless `readyState` is `CLOSED`. */
export interface ErrorEvent extends Event {
  /** The reason; `undefined` if all topics have ended. */
  error: TailwaterError | undefined;
}

// React Native has no `EventTarget`. It has to be able to import this module, to use `subscribe`.
const Target = (globalThis.EventTarget ?? class {}) as typeof EventTarget;

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;

export class EventSource extends Target {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSED = CLOSED;
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSED = CLOSED;
  readonly url: string;
  readonly withCredentials: boolean;
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent<string>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  declare addEventListener: AddListener;
  readonly #origin: string;
  readonly #opened: Opened;
  #readyState = CONNECTING;

  constructor(url: string | URL, options: Options = {}) {
    super();
    const { href, origin } = new URL(url, globalThis.location?.href);
    this.url = href;
    this.withCredentials = options.withCredentials ?? false;
    this.#origin = origin;
    this.#opened = open(href, options, false);
    for (const type of ['open', 'message', 'error'] as const) {
      this.addEventListener(type, (event) => this[`on${type}`]?.(event as never));
    }
    void this.#run();
  }

  get readyState(): number {
    return this.#readyState;
  }

  close(): void {
    this.#readyState = CLOSED;
    this.#opened.source.close();
  }

  async #run(): Promise<void> {
    let error: TailwaterError | undefined;
    try {
      for await (const step of this.#opened.source.steps()) {
        if (this.#readyState === CLOSED) return;
        const { kind } = step;
        if (kind === 'lost') {
          this.#turn(CONNECTING, 'error', step.error);
          continue;
        }
        if (this.#readyState === CONNECTING && kind !== 'reconnect') this.#turn(OPEN, 'open');
        if (kind === 'event') this.#deliver(step.content);
        else if (step.content) this.#dispatch(`tailwater.${kind}`, JSON.stringify(step.content));
      }
    } catch (thrown) {
      error = thrown as TailwaterError;
    }
    if (this.#readyState !== CLOSED) this.#turn(CLOSED, 'error', error);
  }

  #turn(readyState: number, type: string, error?: TailwaterError): void {
    this.#readyState = readyState;
    this.dispatchEvent(Object.assign(new Event(type), { error }));
  }

  #deliver(event: Bare): void {
    // The transport has taken off an envelope that the URL asks for.
    if (event.topic && this.#opened.gateway.has('envelope='))
      this.#dispatch('message', JSON.stringify(event));
    else this.#dispatch(event.type ?? 'message', event.data);
  }

  #dispatch(type: string, data: string | undefined): void {
    const { cursor, keep } = this.#opened;
    keep();
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId: cursor.id, origin: this.#origin }));
  }
}

interface AddListener {
  (type: 'open', listener: ((event: Event) => void) | null, options?: Flags): void;
  (type: 'error', listener: ((event: ErrorEvent) => void) | null, options?: Flags): void;
  (
    type: string,
    listener: ((event: MessageEvent<string>) => void) | EventListenerObject | null,
    options?: Flags,
  ): void;
}

type Flags = boolean | AddEventListenerOptions;
