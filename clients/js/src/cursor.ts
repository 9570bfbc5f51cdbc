// The place of a subscription in its topics.

import { type Gap, isReset, type Message } from './message.js';

/** For each topic, the position up to which the subscriber has been told everything. */
export type Told = Record<string, string>;

/** A cursor as JSON, as it is kept across page loads and handed to other tabs. */
export interface Place {
  id: string;
  topics: readonly string[];
  told: Told;
}

/**
 * A cursor of the gateway, and the positions of the events that came after it. The gateway's cursor moves with
 * complete messages only. It may lag behind the events that were handed over, as within a long-poll of several
 * topics, and is never ahead of them. The positions tell which events have been handed over, so none is twice.
 */
export class Cursor implements Place {
  /** The gateway's cursor, or an empty text. */
  id = '';
  /** The topics that it is for. */
  topics: readonly string[] = [];
  told: Told = Object.create(null);

  constructor(place?: Partial<Place>) {
    if (place) this.adopt(place);
  }

  /** Takes the place of another subscriber. */
  adopt(place: Partial<Place>): void {
    // Without a prototype: a topic may have the name of one of its properties.
    Object.assign(this, place, { told: { __proto__: null, ...this.told, ...place.told } });
  }

  /** Moves past a message, to a cursor for these topics. Returns false if the subscriber has had the message. */
  accept({ kind, content }: Message, id: string | undefined, topics: readonly string[]): boolean {
    if (id) {
      this.id = id;
      this.topics = topics;
    }
    if (kind === 'gap') this.#skip(content);
    return kind !== 'event' || !content.topic || this.#take(content.topic, content.id as string);
  }

  /**
   * Returns the header and the parameter that resume these topics. The cursor of one topic is its position alone,
   * so beside other topics it travels with the topic's name.
   */
  resume(topics: readonly string[]): { header?: string; parameter?: string } {
    const { id, topics: own } = this;
    const [only, ...others] = own;
    if (!id || (only && !own.some((topic) => topics.includes(topic)))) return {};
    if (!only || others.length > 0 || topics.length === 1) return { header: id };
    return { parameter: `last_event_id=${encodeURIComponent(`${only}@${id}`)}` };
  }

  /** Notes that the event at a position is handed over. Returns false if it has been already. */
  #take(topic: string, position: string): boolean {
    const isNew = isAfter(position, this.told[topic]);
    if (isNew) this.told[topic] = position;
    return isNew;
  }

  /** Notes that the subscriber is told of a gap: everything before the oldest event is dealt with. */
  #skip(gap: Gap): void {
    const { topic, oldest, newest } = gap;
    // The positions that were told mean nothing any more.
    if (isReset(gap)) delete this.told[topic];
    const [ms, n] = numbers(oldest ?? newest);
    this.#take(topic, oldest ? `${ms}-${n - 1}` : newest);
  }
}

/** Returns true if a subscriber has been told less about any topic than another. */
export function isBehind(own: Told, other: Told): boolean {
  return Object.entries(other).some(([topic, position]) => isAfter(position, own[topic]));
}

/** Returns true if the position `<ms>-<n>` is after another. The log's clock never decreases in a topic. */
function isAfter(position: string, other = '0-0'): boolean {
  const [ms, n] = numbers(position);
  const [otherMs, otherN] = numbers(other);
  return ms === otherMs ? n > otherN : ms > otherMs;
}

function numbers(position: string): [ms: number, n: number] {
  return position.split('-').map(Number) as [number, number];
}
