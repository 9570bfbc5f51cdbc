import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cursor, isBehind } from '../../dist/cursor.js';

const at = (id, topics) => new Cursor({ id, topics });
const event = (topic, id) => ({ kind: 'event', content: { topic, id } });

test('the cursor of one topic resumes it in the header', () => {
  assert.deepEqual(at('7-1', ['a']).resume(['a']), { header: '7-1' });
});

test('the cursor of one topic travels with its name beside others', () => {
  assert.deepEqual(at('7-1', ['a']).resume(['a', 'b']), { parameter: 'last_event_id=a%407-1' });
});

test('the cursor of one topic does not resume another', () => {
  assert.deepEqual(at('7-1', ['a']).resume(['b']), {});
});

test('the cursor of several topics resumes any selection with one of them', () => {
  for (const topics of [['a'], ['a', 'b'], ['a', 'b', 'c'], ['b', 'c']]) {
    assert.deepEqual(at('v1.x', ['a', 'b']).resume(topics), { header: 'v1.x' });
  }
});

test('the cursor of several topics does not resume others', () => {
  assert.deepEqual(at('v1.x', ['a', 'b']).resume(['c']), {});
});

test('the cursor of a stream without topics is its last id', () => {
  assert.deepEqual(at('x', []).resume([]), { header: 'x' });
});

test('no cursor resumes nothing', () => {
  assert.deepEqual(new Cursor().resume(['a', 'b']), {});
  assert.deepEqual(at('', ['a']).resume(['a', 'b']), {});
});

test('an event is accepted once', () => {
  const cursor = new Cursor();
  assert.equal(cursor.accept(event('a', '7-1'), '7-1', ['a']), true);
  assert.equal(cursor.accept(event('a', '7-1'), '7-1', ['a']), false);
  assert.equal(cursor.accept(event('a', '7-2'), '7-2', ['a']), true);
  assert.equal(cursor.accept(event('a', '6-9'), '6-9', ['a']), false);
  assert.equal(cursor.accept(event('b', '7-1'), '7-1', ['b']), true);
  assert.equal(cursor.accept(event('a', '10-3'), '10-3', ['a']), true);
});

test('topics may have the names of properties of objects', () => {
  for (const topic of ['__proto__', 'constructor', 'toString']) {
    const cursor = new Cursor();
    assert.equal(cursor.accept(event(topic, '7-1'), '7-1', [topic]), true, topic);
    const kept = new Cursor(JSON.parse(JSON.stringify(cursor)));
    assert.equal(kept.accept(event(topic, '7-1'), '7-1', [topic]), false, topic);
    assert.equal(kept.accept(event(topic, '7-2'), '7-2', [topic]), true, topic);
  }
});

test('a gap counts as told up to the oldest event', () => {
  const cursor = new Cursor();
  cursor.accept(event('a', '7-1'), '7-1', ['a']);
  const gap = { topic: 'a', reason: 'trimmed', missed: 3, requested: '7-1', oldest: '9-5', newest: '9-8' };
  cursor.accept({ kind: 'gap', content: gap }, '9-4', ['a']);
  assert.equal(isBehind(cursor.told, { a: '9-4' }), false);
  assert.equal(isBehind(cursor.told, { a: '9-5' }), true);
  assert.equal(cursor.accept(event('a', '9-5'), '9-5', ['a']), true);
});

test('after a reset, positions that were told mean nothing', () => {
  const cursor = new Cursor();
  cursor.accept(event('a', '7-9'), '7-9', ['a']);
  const gap = { topic: 'a', reason: 'reset', missed: null, requested: '7-9', oldest: '5-1', newest: '5-1' };
  cursor.accept({ kind: 'gap', content: gap }, '5-0', ['a']);
  assert.equal(cursor.accept(event('a', '5-1'), '5-1', ['a']), true);
});

test('a subscriber that was told less about any topic is behind', () => {
  const cursor = new Cursor({ told: { a: '7-3', b: '7-1' } });
  assert.equal(isBehind(cursor.told, { a: '7-3' }), false);
  assert.equal(isBehind(cursor.told, { a: '7-2', b: '7-2' }), true);
  assert.equal(isBehind(cursor.told, { c: '1-1' }), true);
});

test('copies do not share what was told', () => {
  const cursor = new Cursor({ told: { a: '7-3' } });
  const copy = new Cursor(cursor);
  copy.accept(event('a', '8-4'), '8-4', ['a']);
  assert.equal(cursor.told.a, '7-3');
});
