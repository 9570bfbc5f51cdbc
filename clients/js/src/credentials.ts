// The credentials of each request: a token of the application, or a ticket of the gateway.

import { refusal } from './error.js';
import { encode } from './gateway.js';
import type { Options } from './options.js';

/** A ticket with less time left than this, in milliseconds, is not used: the request has to arrive. */
const TICKET_LEFT_MIN = 5000;

export class Credentials {
  readonly #options: Options;
  /** The URL that gives tickets. */
  readonly #url: string;
  #ticket: string | undefined;
  /** The time until which the ticket is used. */
  #until = Number.POSITIVE_INFINITY;
  /** True if the application's last token was refused, or is over. */
  #renew = false;

  constructor(options: Options, eventsUrl: string, ticket: string | undefined) {
    this.#options = options;
    this.#url = eventsUrl.replace(/[^/]*$/, 'tickets');
    this.#ticket = ticket;
  }

  /** Gives up the credentials in hand, which were refused or are over. Returns false if there are no others. */
  renew(): boolean {
    this.#renew = true;
    this.#ticket = undefined;
    return this.#options.token !== undefined;
  }

  /**
   * Takes the ticket that a stream carries for the next one, or gives up the ticket in hand. A ticket that is over
   * when it is used is refused, and renewed then.
   */
  next(ticket: string | undefined): void {
    this.#ticket = ticket;
    this.#until = Number.POSITIVE_INFINITY;
  }

  /** Puts a token into the headers of a request for these topics, or returns a ticket as a parameter. */
  async put(
    headers: Record<string, string>,
    topics: readonly string[],
    init: RequestInit,
  ): Promise<string | undefined> {
    const { token, tickets, fetch = globalThis.fetch } = this.#options;
    if (!this.#ticket || Date.now() > this.#until) {
      const bearer = token && { authorization: `Bearer ${await token(this.#renew)}` };
      this.#renew = false;
      if (!tickets) {
        Object.assign(headers, bearer);
        return undefined;
      }
      const body = JSON.stringify({ topics });
      const request = { ...init, method: 'POST', headers: { ...headers, ...bearer }, body };
      const response = await fetch(this.#url, request);
      if (!response.ok) throw await refusal(response);
      const { ticket, expires } = await response.json();
      this.#ticket = ticket;
      this.#until = Date.parse(expires) - TICKET_LEFT_MIN;
    }
    return encode('ticket', this.#ticket as string);
  }
}
