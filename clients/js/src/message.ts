// The messages of a subscription: the publishers' events, and the gateway's control events.

/** An event of a publisher, as the gateway puts it into an envelope or into the answer to a long-poll. */
export interface Envelope {
  /** The event's position in its topic, or in the space that its topic shares with others. */
  id: string;
  topic: string;
  /** `null` if the publisher gave none. */
  type: string | null;
  data: string;
  /** The time at which the log took the event, in RFC 3339. */
  time: string;
  traceparent?: string;
}

/** An event without its envelope: its topic, position and time are not known. */
export type Bare = Pick<Envelope, 'type' | 'data'> & Partial<Envelope>;

/** The outcome of resuming with a cursor. `live`: there was none. `exact`: no event is missing. */
export type Outcome = 'live' | 'exact' | 'gap' | 'rewound' | 'reset' | 'invalid';

/** The data of `tailwater.ready`. */
export interface Ready {
  outcome: Outcome;
  cursor: string;
  node?: string;
  /** Seconds between heartbeats; `null` if there are none. */
  heartbeat?: number | null;
  /** The next ticket. */
  ticket?: string;
  /** The topics and patterns that the cursor did not know, which begin at `from`. */
  new?: string[];
}

/** The data of `tailwater.gap`: some events can no longer be read. */
export interface Gap {
  /** The topic or pattern; `orders/**` if several of the space `orders/` were asked for. */
  topic: string;
  reason: 'trimmed' | 'history' | 'rewound' | 'reset' | 'invalid';
  /** The number of events that were missed; `null` if it cannot be known. */
  missed: number | null;
  /** The number of events of a space that are gone, if only some of its topics were asked for; `missed` is `null`. */
  missed_at_most?: number;
  requested: string | null;
  /** The first event that can be read. */
  oldest: string | null;
  newest: string;
}

/** The data of `tailwater.broken`: the publisher of the events before broke off; another may go on. */
export interface Broken {
  topic: string;
  reason: 'disconnected' | 'timeout' | 'missing';
}

/** The data of `tailwater.end`: the publisher has ended the topic. */
export interface End {
  topic: string;
}

/** The data of `tailwater.reconnect`: the stream closes now. */
export interface Reconnect {
  reason: string;
  ticket?: string;
}

/** One message, whichever transport brought it. */
export type Message = Content & {
  /** The cursor after this message, if it moves. */
  id?: string | undefined;
  /** Milliseconds to wait before a reconnect. */
  retry?: number | undefined;
};

type Content =
  | { kind: 'event'; content: Bare }
  | { kind: 'ready'; content: Ready }
  | { kind: 'gap'; content: Gap }
  | { kind: 'broken'; content: Broken }
  | { kind: 'end'; content: End }
  /** A topic that has ended was opened again. */
  | { kind: 'reopened'; content: End }
  | { kind: 'reconnect'; content: Reconnect }
  /** A block without data has no content. */
  | { kind: 'cursor'; content?: unknown };

/** Returns true if the numbers of a topic, or the topic itself, are not those that the client has seen. */
export function isReset({ reason }: Gap): boolean {
  return reason !== 'trimmed' && reason !== 'history';
}
