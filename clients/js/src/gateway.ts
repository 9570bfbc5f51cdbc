// The gateway as a client sees it: the URL in its parts, and the credentials.

import { Credentials } from './credentials.js';
import type { Options } from './options.js';

export class Gateway {
  readonly options: Options;
  /** The topics of the URL and of the options, sorted. */
  readonly topics: readonly string[];
  /** The cursor of the URL or of the options, or an empty text. */
  readonly cursor: string;
  readonly credentials: Credentials;
  /** The URL without its query. */
  readonly #path: string;
  /** The parameters that stay as they are, encoded. */
  readonly #parameters: string[] = [];

  constructor(url: string, options: Options) {
    const [path, query = ''] = (url.split('#')[0] as string).split('?');
    const topics = [...(options.topics ?? [])];
    let { cursor = '' } = options;
    let ticket: string | undefined;
    for (const parameter of query.split('&').filter(Boolean)) {
      const [name, value = ''] = parameter.split('=').map(decode);
      if (name === 'topic') topics.push(value);
      else if (name === 'last_event_id' || name === 'lastEventId') cursor ||= value;
      else if (name === 'ticket') ticket = value;
      else this.#parameters.push(parameter);
    }
    for (const name of ['from', 'types', 'heartbeat'] as const) {
      const value = options[name];
      if (value !== undefined) this.#parameters.push(encode(name, String(value)));
    }
    this.#path = path as string;
    this.options = options;
    this.topics = sorted(topics);
    this.cursor = cursor;
    this.credentials = new Credentials(options, this.#path, ticket);
  }

  /** Returns true if a parameter of the URL begins with this text. */
  has(text: string): boolean {
    return this.#parameters.some((parameter) => parameter.startsWith(text));
  }

  /** Returns the URL for these topics. */
  url(topics: readonly string[], ...more: (string | undefined)[]): string {
    const named = topics.map((topic) => encode('topic', topic));
    return `${this.#path}?${[...named, ...this.#parameters, ...more].filter(Boolean).join('&')}`;
  }
}

export function sorted(topics: Iterable<string>): string[] {
  return [...new Set(topics)].sort();
}

export function encode(name: string, value: string): string {
  return `${name}=${encodeURIComponent(value)}`;
}

function decode(encoded: string): string {
  return decodeURIComponent(encoded.replaceAll('+', ' '));
}
