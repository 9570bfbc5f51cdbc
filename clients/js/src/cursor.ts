// The place of a subscription in its topics. A topic here may be a pattern: of the topics of a space, which have one order.

import { type Gap, isReset, type Message } from './message.js';

/** For each topic and pattern, the position up to which the subscriber has been told everything. */
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
    if (kind !== 'event' || !content.topic) return true;
    const { topic } = content;
    // Under the pattern that brought it: a pattern may bring any number of topics.
    const key = topics.includes(topic) ? topic : topics.find((other) => covers(other, topic));
    return this.#take(topic, content.id as string, key);
  }

  /**
   * Returns the header and the parameter that resume these topics. The cursor of one topic, or of a space, is a position
   * alone, so beside other topics it travels with the topic's name.
   */
  resume(topics: readonly string[]): { header?: string; parameter?: string } {
    const { id, topics: own } = this;
    if (!id || own.length === 0) return id ? { header: id } : {};
    const known = own.find((topic) => topics.some((other) => areOne(topic, other)));
    if (known === undefined) return {};
    if (!/^\d+-\d+$/.test(id) || topics.every((topic) => own.includes(topic))) return { header: id };
    return { parameter: `last_event_id=${encodeURIComponent(`${known}@${id}`)}` };
  }

  /** Notes that the event at a position is handed over. Returns false if it has been already. */
  #take(topic: string, position: string, key = topic): boolean {
    const { told } = this;
    const patterns = Object.keys(told).filter((known) => known.includes('*') && covers(known, topic));
    const isNew = [topic, ...patterns].every((known) => isAfter(position, told[known]));
    if (isNew) told[key] = position;
    return isNew;
  }

  /** Notes that the subscriber is told of a gap: everything before the oldest event is dealt with. */
  #skip(gap: Gap): void {
    const { topic, oldest, newest } = gap;
    // The positions that were told mean nothing any more.
    if (isReset(gap))
      for (const known of Object.keys(this.told)) if (areOne(known, topic)) delete this.told[known];
    const [ms, n] = numbers(oldest ?? newest);
    this.#take(topic, oldest ? `${ms}-${n - 1}` : newest);
  }
}

/** Returns true if topics or patterns certainly share a log: they are the same, or one covers the other. */
function areOne(one: string, other: string): boolean {
  return covers(one, other) || covers(other, one);
}

/** Returns true if a topic is the other one, or a pattern matches it. */
function covers(selector: string, topic: string): boolean {
  const [wanted, segments] = [selector.split('/'), topic.split('/')];
  const isRest = wanted[wanted.length - 1] === '**' && segments.length > wanted.length;
  return (
    (isRest || segments.length === wanted.length) &&
    wanted.every((name, index) => /^\*\*?$/.test(name) || name === segments[index])
  );
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
