// The options of a subscription.

import type { Shared } from './source.js';
import type { Storage } from './store.js';

type Headers = Record<string, string>;

export interface Options {
  /** The topics, and patterns such as `orders/*` of topics of a space, besides those in the URL's query. */
  topics?: readonly string[];
  /** The place to begin at without a cursor: `latest`, `earliest`, `-N`, or a time. Default: `latest`. */
  from?: string;
  /** Only events of these types. */
  types?: readonly string[];
  /** Seconds between heartbeats, 3 to 60. Default: the gateway's, 15. */
  heartbeat?: number;
  /** A cursor to resume from, such as the `id` of a publisher's receipt. */
  cursor?: string;
  /** Storage for the cursor, such as `sessionStorage`, so that a page that is loaded again resumes. */
  persist?: Storage;
  /** One stream for all tabs of the origin that subscribe to the same: `tabs()` of `@tailwater/client/tabs`. */
  shared?: Shared;
  /** Headers of each request. */
  headers?: Headers | (() => Headers | Promise<Headers>);
  /** Returns the bearer token. `renew` is true if the gateway refused the last one, or if it is over. */
  token?: (renew: boolean) => string | Promise<string>;
  /** Exchanges the token for tickets, so that the stream's request carries no token. */
  tickets?: boolean;
  /** Sends cookies to another origin. */
  withCredentials?: boolean;
  /** `long-poll` never streams. Default: streams wherever streams arrive. */
  transport?: 'auto' | 'long-poll';
  /** Milliseconds to wait for the first byte before a long-poll is tried. Default: 10,000. */
  firstByte?: number;
  /** Milliseconds before the first reconnect, until the gateway names its own. Default: 2,000. */
  retry?: number;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
}
