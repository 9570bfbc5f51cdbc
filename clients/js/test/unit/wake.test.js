// A page that sleeps, and a network that comes and goes: `window` and `document` are fakes.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { subscribe } from '../../dist/index.js';
import { take, until } from '../support/collect.js';
import { startFakeGateway } from '../support/fake-gateway.js';

const open = [];
let page;

beforeEach(() => {
  page = new EventTarget();
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
});

afterEach(async () => {
  for (const close of open.splice(0)) await close();
  delete globalThis.document;
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
});

async function fake(answer) {
  const gateway = await startFakeGateway((request, connection, index) => answer(connection, request, index));
  open.push(() => gateway.close());
  return gateway;
}

function watch(gateway, options) {
  const errors = [];
  const onError = ({ code }) => errors.push(code);
  const subscription = subscribe(gateway.url, { topics: ['demo'], onError, ...options });
  open.push(() => subscription.close());
  return { subscription, errors };
}

for (const [name, wake] of [
  ['the browser is online', () => page.dispatchEvent(new Event('online'))],
  ['the page is shown', () => document.dispatchEvent(new Event('visibilitychange'))],
  ['the page is back from the cache', () => page.dispatchEvent(new Event('pageshow'))],
  ['the page is no longer frozen', () => document.dispatchEvent(new Event('resume'))],
]) {
  test(`a pause of the client's own ends when ${name}`, async () => {
    const gateway = await fake((c) => c.stream().ready().event(1));
    await gateway.close();
    // Longer than the test may take.
    const { subscription, errors } = watch(gateway, { retry: 3_600_000 });
    const events = take(subscription, 1);
    await until(() => errors.length === 1);
    await gateway.restart();
    await until(async () => {
      wake();
      return gateway.requests.length > 0;
    });
    assert.equal((await events)[0].data, 'event 1');
  });
}

test('a page that is hidden does not end the pause, nor does one that the gateway asks for', async () => {
  const gateway = await fake((c) => c.refuse(503, 'draining', { 'retry-after': '3600' }));
  const { subscription, errors } = watch(gateway, { retry: 100 });
  const events = take(subscription, 1);
  await until(() => errors.length === 1);
  page.dispatchEvent(new Event('online'));
  document.visibilityState = 'hidden';
  document.dispatchEvent(new Event('visibilitychange'));
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(gateway.requests.length, 1);
  subscription.close();
  assert.deepEqual(await events, []);
});

test('a client behind a proxy that buffers tries a stream when the browser is online again', async () => {
  let buffers = true;
  const gateway = await fake((c, { headers, query }) => {
    if (headers.accept === 'text/event-stream') {
      if (!buffers) c.stream().ready({ cursor: '1-1' }).event(2);
    } else if (query.get('wait') === '0') {
      const event = {
        id: '1-1',
        topic: 'demo',
        type: null,
        data: 'event 1',
        time: '2026-01-31T12:00:00.000Z',
      };
      c.json({ events: [event], gaps: [], cursor: '1-1', ended: false });
    } else {
      setTimeout(() => c.json({ events: [], gaps: [], cursor: '1-1', ended: false }), 200);
    }
  });
  const { subscription } = watch(gateway, { firstByte: 1000 });
  assert.equal((await take(subscription, 1))[0].data, 'event 1');
  const next = take(subscription, 1);
  await until(() => gateway.requests.some(({ query }) => query.get('wait') === '25'));
  buffers = false;
  page.dispatchEvent(new Event('online'));
  assert.equal((await next)[0].data, 'event 2');
});

test('the listeners are gone with the subscription', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const added = new Set();
  const { addEventListener, removeEventListener } = globalThis;
  globalThis.addEventListener = (type, listener) => added.add(listener) && addEventListener(type, listener);
  globalThis.removeEventListener = (type, listener) =>
    added.delete(listener) && removeEventListener(type, listener);
  const { subscription } = watch(gateway);
  await take(subscription, 1);
  assert.ok(added.size > 0);
  await subscription.return();
  assert.equal(added.size, 0);
});
