// The event stream: one answer whose body does not end.

import type { Attempt } from '../attempt.js';
import { TailwaterError } from '../error.js';
import type { Message } from '../message.js';
import { type Block, Parser } from '../parser.js';

const CONTROL = 'tailwater.';

/** Reads the messages of a stream as fast as they are taken, and no faster. */
export async function* stream(attempt: Attempt, isEnveloped: boolean): AsyncGenerator<Message> {
  const { watchdog } = attempt;
  const envelope = isEnveloped ? ['envelope=json'] : [];
  const response = await attempt.ask('text/event-stream', 0, ...envelope);
  if (!response) return;
  const reader = response.body?.getReader();
  if (!reader) throw new TailwaterError('this fetch does not stream', { code: 'no_body' });
  const decoder = new TextDecoder();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      watchdog.disarm();
      if (done) return;
      attempt.hasBytes = true;
      for (const block of parser.feed(decoder.decode(value, { stream: true }))) {
        yield message(block, isEnveloped);
      }
      watchdog.arm(attempt.silence);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function message({ type, data, id, retry }: Block, isEnveloped: boolean): Message {
  if (data === undefined) return { kind: 'cursor', id, retry };
  if (type.startsWith(CONTROL)) {
    return { kind: type.slice(CONTROL.length), content: JSON.parse(data), id, retry } as Message;
  }
  return { kind: 'event', content: isEnveloped ? JSON.parse(data) : { type, data }, id, retry };
}
