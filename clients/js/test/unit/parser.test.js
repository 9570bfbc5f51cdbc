import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createParser } from 'eventsource-parser';
import { Parser } from '../../dist/parser.js';
import { random } from '../support/model.js';

/** Feeds the text in pieces, and returns the events as the reference parser reports them. */
function parse(text, cut) {
  const parser = new Parser();
  const events = [];
  for (const piece of pieces(text, cut)) {
    for (const { data, type, id } of parser.feed(piece)) {
      if (data !== undefined) events.push({ data, type, id });
    }
  }
  return events;
}

function reference(text, cut) {
  const events = [];
  const onEvent = ({ data, event, id }) => events.push({ data, type: event ?? 'message', id });
  const parser = createParser({ onEvent });
  for (const piece of pieces(text, cut)) parser.feed(piece);
  return events;
}

function* pieces(text, cut) {
  for (let start = 0; start < text.length; ) {
    const end = Math.min(text.length, start + cut());
    yield text.slice(start, end);
    start = end;
  }
}

const whole = () => Number.POSITIVE_INFINITY;

test('a block becomes an event at its blank line, and not before', () => {
  const parser = new Parser();
  assert.deepEqual(parser.feed('event: shipped\ndata: {"order":42}\nid: 7-1\n'), []);
  assert.deepEqual(parser.feed('\n'), [
    { type: 'shipped', data: '{"order":42}', id: '7-1', retry: undefined },
  ]);
});

test('a block without data has an id or a retry, and is no event', () => {
  const blocks = new Parser().feed('id: 5\n\nretry: 250\n\n: comment\n\n');
  assert.deepEqual(
    blocks.map(({ data, id, retry }) => ({ data, id, retry })),
    [
      { data: undefined, id: '5', retry: undefined },
      { data: undefined, id: undefined, retry: 250 },
    ],
  );
});

for (const [name, text, expected] of [
  ['data of several lines', 'data: a\ndata: b\n\n', ['a\nb']],
  ['empty data', 'data\n\ndata:\n\n', ['', '']],
  ['one space after the colon is not data', 'data:  a\n\n', [' a']],
  ['CR, LF and CRLF end lines', 'data: a\rdata: b\r\ndata: c\n\r\n', ['a\nb\nc']],
  ['an event that is cut off', 'data: a\n\ndata: b\n', ['a']],
  ['unknown fields and comments', 'foo: bar\n:data: x\ndata: a\nDATA: b\n\n', ['a']],
]) {
  test(`${name}`, () => {
    assert.deepEqual(
      parse(text, whole).map(({ data }) => data),
      expected,
    );
  });
}

test('an id with NUL and a retry that is no number are ignored', () => {
  const [block] = new Parser().feed('id: a\nid: b\0\nretry: 5s\ndata: x\n\n');
  assert.deepEqual([block.id, block.retry], ['a', undefined]);
});

test('a line that never ends is refused', () => {
  const parser = new Parser();
  const megabyte = 'x'.repeat(1024 * 1024);
  assert.throws(() => {
    for (let n = 0; n <= 64; n++) parser.feed(megabyte);
  }, RangeError);
});

test('any text in any pieces is parsed as by eventsource-parser', () => {
  const parts = [
    'data',
    'event',
    'id',
    'retry',
    ':',
    ' ',
    '\n',
    '\r',
    '\r\n',
    '\n\n',
    'a',
    'é',
    '7',
    'x: ',
    '',
  ];
  for (let seed = 0; seed < 2000; seed++) {
    const next = random(seed);
    const length = Math.floor(next() * 40);
    const text = Array.from({ length }, () => parts[Math.floor(next() * parts.length)]).join('');
    const cut = () => 1 + Math.floor(next() * 6);
    const context = `seed ${seed}: ${JSON.stringify(text)}`;
    // The reference reports the end of a block at once, also where a CR might be the first half of CRLF.
    assert.deepEqual(parse(`${text}\n`, cut), reference(`${text}\n`, whole), context);
  }
});
