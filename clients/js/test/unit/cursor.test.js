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

test('the position of a space travels with one of its names beside others', () => {
  // One position for several topics: they share a log.
  const cursor = at('7-1', ['orders/*', 'orders/1/lines']);
  assert.deepEqual(cursor.resume(['orders/*', 'orders/1/lines']), { header: '7-1' });
  assert.deepEqual(cursor.resume(['orders/*']), { header: '7-1' });
  const named = (name) => ({ parameter: `last_event_id=${encodeURIComponent(`${name}@7-1`)}` });
  assert.deepEqual(cursor.resume(['news', 'orders/*', 'orders/1/lines']), named('orders/*'));
});

test('a position goes on from topics to a pattern that covers them, and back', () => {
  for (const [before, after] of [
    ['orders/1', 'orders/*'],
    ['orders/*', 'orders/1'],
    ['orders/*', 'orders/**'],
    ['orders/1/lines', 'orders/*/lines'],
    ['orders/**', 'orders/1/lines'],
  ]) {
    const parameter = `last_event_id=${encodeURIComponent(`${before}@7-1`)}`;
    assert.deepEqual(at('7-1', [before]).resume([after]), { parameter }, `${before} ${after}`);
  }
  for (const [before, after] of [
    ['orders/1', 'orders/*/lines'],
    ['orders/*', 'users/*'],
    ['orders/**', 'orders'],
    ['orders/*', 'orders2/1'],
  ]) {
    assert.deepEqual(at('7-1', [before]).resume([after]), {}, `${before} ${after}`);
  }
});

test('the topics of a pattern need one entry, however many they are', () => {
  const [cursor, topics] = [new Cursor(), ['orders/1', 'orders/*']];
  for (let n = 1; n <= 1000; n += 1) {
    assert.equal(cursor.accept(event(`orders/${n}`, `7-${n}`), `7-${n}`, topics), true);
    assert.equal(cursor.accept(event(`orders/${n}`, `7-${n}`), `7-${n}`, topics), false);
  }
  assert.deepEqual({ ...cursor.told }, { 'orders/1': '7-1', 'orders/*': '7-1000' });
  // Nor twice after a change of the selection.
  assert.equal(cursor.accept(event('orders/7', '7-7'), undefined, ['orders/7']), false);
  assert.equal(cursor.accept(event('orders/7', '7-1001'), undefined, ['orders/7']), true);
  assert.equal(cursor.accept(event('orders/7', '7-1001'), undefined, ['orders/**']), false);
});

test('after a reset of a space, no position of its topics means anything', () => {
  const cursor = new Cursor({ told: { 'orders/1': '7-9', 'orders/*': '7-8', news: '7-7' } });
  const gap = {
    topic: 'orders/**',
    reason: 'reset',
    missed: null,
    requested: '7-9',
    oldest: '5-1',
    newest: '5-2',
  };
  cursor.accept({ kind: 'gap', content: gap }, '5-0', ['orders/1', 'orders/*']);
  assert.deepEqual({ ...cursor.told }, { 'orders/**': '5-0', news: '7-7' });
  assert.equal(cursor.accept(event('orders/1', '5-1'), '5-1', ['orders/1', 'orders/*']), true);
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
