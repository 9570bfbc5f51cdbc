// The class with the interface of the browsers' EventSource.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { EventSource } from '../../dist/index.js';
import { sleep, until } from '../support/collect.js';
import { startFakeGateway } from '../support/fake-gateway.js';

const open = [];

afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function fake(...answers) {
  const gateway = await startFakeGateway((request, connection, index) =>
    answers[Math.min(index, answers.length - 1)](connection, request),
  );
  open.push(() => gateway.close());
  return gateway;
}

function source(gateway, query = '?topic=demo', options = { retry: 100 }) {
  const created = new EventSource(gateway.url + query, options);
  open.push(() => created.close());
  return created;
}

test('events have type, data, lastEventId and origin', async () => {
  const gateway = await fake((c) =>
    c.stream().ready().chunk('data: a\nid: 1-1\n\nevent: shipped\ndata: b\ndata: c\nid: 2-2\n\n'),
  );
  const events = source(gateway);
  const heard = [];
  const note = (event) => heard.push(event);
  events.onopen = note;
  events.onmessage = note;
  events.addEventListener('shipped', note);
  events.addEventListener('tailwater.ready', note);
  assert.equal(events.readyState, EventSource.CONNECTING);
  assert.equal(events.url, `${gateway.url}?topic=demo`);
  assert.equal(events.withCredentials, false);
  await until(() => heard.length === 4);
  assert.equal(events.readyState, events.OPEN);
  const [opened, ready, a, b] = heard;
  assert.deepEqual([opened.type, ready.type], ['open', 'tailwater.ready']);
  assert.equal(JSON.parse(ready.data).outcome, 'live');
  assert.ok(a instanceof MessageEvent);
  assert.deepEqual(
    [a.type, a.data, a.lastEventId, a.origin],
    ['message', 'a', '1-1', new URL(gateway.url).origin],
  );
  assert.deepEqual([b.type, b.data, b.lastEventId], ['shipped', 'b\nc', '2-2']);
});

test('a stream that is lost is CONNECTING, then open again with its last id', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().chunk('data: a\nid: 1-1\n\n').cut(),
    (c) => c.stream().ready({ cursor: '1-1' }).chunk('data: b\nid: 2-2\n\n'),
  );
  const events = source(gateway);
  const states = [];
  const heard = [];
  events.onopen = () => states.push(['open', events.readyState]);
  events.onerror = ({ error }) => states.push([error.code, events.readyState]);
  events.onmessage = ({ data }) => heard.push(data);
  await until(() => heard.length === 2);
  assert.deepEqual(heard, ['a', 'b']);
  assert.deepEqual(
    [states[0], states[2]],
    [
      ['open', 1],
      ['open', 1],
    ],
  );
  assert.equal(states[1][1], EventSource.CONNECTING);
  assert.equal(gateway.requests[1].headers['last-event-id'], '1-1');
});

test('204 and the end of all topics close it without an error', async () => {
  for (const answer of [
    (c) => c.whole(204),
    (c) => c.stream().ready().control('end', { topic: 'demo' }).end(),
  ]) {
    const gateway = await fake(answer);
    const events = source(gateway);
    const errors = [];
    events.onerror = ({ error }) => errors.push([error, events.readyState]);
    await until(() => errors.length > 0);
    assert.deepEqual(errors, [[undefined, EventSource.CLOSED]]);
    await sleep(200);
    assert.equal(gateway.requests.length, 1);
  }
});

test('403 closes it with the message of the gateway', async () => {
  const gateway = await fake((c) => c.refuse(403, 'forbidden'));
  const events = source(gateway);
  const errors = [];
  events.addEventListener('error', ({ error }) => errors.push(error));
  await until(() => errors.length > 0);
  assert.equal(events.readyState, EventSource.CLOSED);
  assert.deepEqual([errors[0].status, errors[0].message], [403, 'refused: forbidden']);
});

test('close ends the request, and no event follows', async () => {
  const gateway = await fake((c) => c.stream().ready().chunk('data: a\nid: 1-1\n\ndata: b\nid: 2-2\n\n'));
  const events = source(gateway);
  const heard = [];
  events.onerror = () => heard.push('error');
  events.onmessage = ({ data }) => {
    heard.push(data);
    events.close();
  };
  await until(() => heard.length > 0 && gateway.open === 0);
  await sleep(100);
  assert.deepEqual(heard, ['a']);
  assert.equal(events.readyState, EventSource.CLOSED);
});

test('a listener is called once if it asks so, and not after it is removed', async () => {
  const gateway = await fake((c) => {
    c.stream().ready();
    for (let n = 1; n <= 3; n++) c.chunk(`data: ${n}\nid: ${n}-${n}\n\n`);
  });
  const events = source(gateway);
  const heard = [];
  const removed = ({ data }) => {
    heard.push(`removed ${data}`);
    events.removeEventListener('message', removed);
  };
  events.addEventListener('message', ({ data }) => heard.push(`once ${data}`), { once: true });
  events.addEventListener('message', removed);
  events.addEventListener('message', { handleEvent: ({ data }) => heard.push(`object ${data}`) });
  await until(() => heard.includes('object 3'));
  assert.deepEqual(heard, ['once 1', 'removed 1', 'object 1', 'object 2', 'object 3']);
});

test('a stream of another server keeps the id of an earlier event, and an id alone moves it', async () => {
  const gateway = await fake(
    (c) => c.stream().chunk('data: a\nid: x\n\ndata: b\n\nid: y\n\n').end(),
    (c) => c.stream(),
  );
  const events = source(gateway, '');
  const heard = [];
  events.onmessage = ({ data, lastEventId }) => heard.push([data, lastEventId]);
  await until(() => gateway.requests.length === 2);
  assert.deepEqual(heard, [
    ['a', 'x'],
    ['b', 'x'],
  ]);
  assert.equal(gateway.requests[1].headers['last-event-id'], 'y');
});

test('a URL that is none is an error at once', () => {
  assert.throws(() => new EventSource('http://'), TypeError);
});
