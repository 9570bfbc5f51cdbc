// The long-poll: one answer with the events that there are, for places where no stream arrives.

import type { Attempt } from '../attempt.js';
import { type Broken, type Envelope, type Gap, isReset, type Message, type Outcome } from '../message.js';

/** Events in one answer. */
const LIMIT = 100;

interface Answer {
  events: Envelope[];
  cursor: string;
  gaps: Gap[];
  /** Missing at gateways of 0.2. */
  broken?: Broken[];
  ended: boolean;
}

/**
 * Asks once, and waits up to `wait` seconds for an event. Yields the messages that a stream would have brought.
 * `isFirst`: a stream would have begun with `tailwater.ready`.
 */
export async function* longPoll(attempt: Attempt, wait: number, isFirst: boolean): AsyncGenerator<Message> {
  const { watchdog, topics, cursor: before } = attempt;
  const hadCursor = before.id !== '';
  const response = await attempt.ask('application/json', wait * 1000, `wait=${wait}`, `limit=${LIMIT}`);
  if (!response) return;
  const { events, cursor, gaps, broken = [], ended } = (await response.json()) as Answer;
  watchdog.disarm();
  attempt.hasBytes = true;
  attempt.ending = ended ? 'finished' : events.length + gaps.length + broken.length > 0 ? 'answered' : 'idle';
  if (isFirst) yield { kind: 'ready', content: { outcome: outcome(hadCursor, gaps), cursor } };
  for (const content of gaps) yield { kind: 'gap', content };
  for (const content of events) {
    // The cursor of one topic is the event's position. That of several is known after the last event only.
    yield { kind: 'event', content, id: topics.length === 1 ? content.id : undefined };
  }
  for (const content of broken) yield { kind: 'broken', content };
  yield { kind: 'cursor', id: cursor };
  if (ended) for (const topic of topics) yield { kind: 'end', content: { topic } };
}

function outcome(hadCursor: boolean, [gap]: Gap[]): Outcome {
  if (!hadCursor) return 'live';
  if (!gap) return 'exact';
  return isReset(gap) ? (gap.reason as Outcome) : 'gap';
}
