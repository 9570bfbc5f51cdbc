// connection.js owns the EventSource: its states, its cursor, and a new one when the browser gives up.

import { eventsUrl } from './subscription.js';
import { authorization, refusal, ticketFor } from './token.js';

const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 10_000;

/**
 * Keeps a subscription alive. Calls these methods of the observer:
 * `state(state, detail)` with connecting | live | reconnecting | ended | refused,
 * `event(event, id)`, `control(word, data, id)`, `cursor(id)`, `trouble(message | null)`.
 */
export class Connection {
  #subscription;
  #observer;
  #source = null;
  #timer = null;
  #cursor = '';
  #failures = 0; // since the last ready event
  #ended = new Set();
  #closed = false;

  constructor(subscription, observer) {
    this.#subscription = subscription;
    this.#observer = observer;
    window.addEventListener('online', this.#retryNow);
    this.#observer.state('connecting', '');
    this.#open();
  }

  close() {
    this.#closed = true;
    this.#drop();
    clearTimeout(this.#timer);
    window.removeEventListener('online', this.#retryNow);
  }

  async #open() {
    this.#timer = null;
    const { ticket, message, isFinal } = await ticketFor(this.#subscription.topics);
    if (this.#closed) return;
    if (message) {
      this.#observer.trouble(message);
      return isFinal ? this.#finish('refused') : this.#later();
    }
    const source = new EventSource(eventsUrl(this.#subscription, this.#cursor, ticket));
    // The browser would repeat a URL whose ticket is spent.
    source.hasTicket = ticket !== '';
    this.#source = source;
    source.onmessage = (message) => this.#onEvent(message);
    source.onerror = () => this.#onError(source);
    for (const word of ['ready', 'gap', 'end', 'reconnect', 'cursor']) {
      source.addEventListener(`tailwater.${word}`, (message) => this.#onControl(word, message));
    }
  }

  #drop() {
    if (this.#source === null) return;
    this.#source.onmessage = null;
    this.#source.onerror = null;
    this.#source.close();
    this.#source = null;
  }

  #advance(message) {
    if (message.lastEventId === '' || message.lastEventId === this.#cursor) return;
    this.#cursor = message.lastEventId;
    this.#observer.cursor(this.#cursor);
  }

  #onEvent(message) {
    this.#advance(message);
    const envelope = parse(message.data);
    if (envelope !== null && typeof envelope.data === 'string') this.#observer.event(envelope, message.lastEventId);
  }

  #onControl(word, message) {
    if (this.#closed) return;
    this.#advance(message);
    if (word === 'cursor') return;
    const data = parse(message.data) ?? {};
    this.#observer.control(word, data, message.lastEventId);
    if (word === 'ready') this.#onReady();
    if (word === 'reconnect') {
      this.#observer.state('reconnecting', '');
      if (this.#source?.hasTicket) this.#again();
    }
    if (word === 'end') this.#onEnd(data.topic);
  }

  #onReady() {
    this.#failures = 0;
    this.#observer.trouble(null);
    this.#observer.state('live', '');
  }

  #onEnd(topic) {
    this.#ended.add(topic);
    if (this.#subscription.topics.every((name) => this.#ended.has(name))) this.#finish('ended');
  }

  #finish(state) {
    this.close();
    this.#observer.state(state, '');
  }

  // The browser retries while CONNECTING. Once CLOSED it never retries, so this class does.
  async #onError(source) {
    if (source !== this.#source) return;
    this.#observer.state('reconnecting', '');
    if (source.readyState !== EventSource.CLOSED) return source.hasTicket ? this.#again() : undefined;
    this.#drop();
    this.#failures += 1;
    if (this.#failures === 1) {
      const verdict = await this.#ask();
      if (this.#closed) return;
      this.#observer.trouble(verdict.message);
      if (verdict.end) return this.#finish(verdict.end);
    }
    this.#later();
  }

  // A stream with a ticket is opened once more with another one.
  #again() {
    this.#drop();
    this.#failures += 1;
    this.#later();
  }

  #later() {
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.max(1, this.#failures));
    const delay = RETRY_MIN_MS + Math.random() * (ceiling - RETRY_MIN_MS);
    this.#observer.state('reconnecting', `next attempt in ${Math.round(delay / 1000)} s`);
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  // An EventSource hides the reason of a refusal. A long-poll of the same URL returns it.
  async #ask() {
    try {
      const url = `${eventsUrl(this.#subscription, this.#cursor)}&wait=0`;
      const headers = { Accept: 'application/json', ...authorization() };
      const response = await fetch(url, { headers, cache: 'no-store' });
      if (response.status === 204) return { message: null, end: 'ended' };
      const body = parse(await response.text());
      if (response.ok) return { message: null, end: body?.ended === true ? 'ended' : null };
      const message = refusal(response.status, body?.error);
      const temporary = response.status >= 500 || response.status === 429 || response.status === 408;
      return { message, end: temporary ? null : 'refused' };
    } catch {
      return { message: 'the gateway is unreachable', end: null };
    }
  }

  #retryNow = () => {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#open();
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
