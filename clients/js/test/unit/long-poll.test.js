// Long-polls: beside proxies that buffer, and where fetch cannot stream.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { EventSource, subscribe } from '../../dist/index.js';
import { MemoryStorage, sleep, take, until } from '../support/collect.js';
import { startFakeGateway } from '../support/fake-gateway.js';
import { Log, serve } from '../support/model.js';

const open = [];

afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** Starts a model of a gateway, behind a proxy whose function may answer first. */
async function behind(proxy, log = new Log(), options = {}) {
  const answer = serve(log, options);
  const gateway = await startFakeGateway((request, connection, index) => {
    if (!proxy(request, connection, index)) return answer(request, connection, index);
  });
  open.push(() => gateway.close());
  return { gateway, log };
}

const isStream = ({ headers }) => headers.accept === 'text/event-stream';
/** A proxy that holds streams back, and lets whole answers through. */
const buffers = (request) => isStream(request);

function watch(gateway, options = {}) {
  const told = [];
  const note = (word) => (content) => told.push([word, content]);
  const subscription = subscribe(gateway.url, {
    topics: ['demo'],
    retry: 100,
    firstByte: 1000,
    onOpen: note('open'),
    onGap: note('gap'),
    onEnd: note('end'),
    onError: note('error'),
    ...options,
  });
  open.push(() => subscription.close());
  return { subscription, told };
}

const data = (events) => events.map((event) => event.data);

test('behind a proxy that buffers, events arrive by long-polls', async () => {
  const { gateway, log } = await behind(buffers);
  const { subscription, told } = watch(gateway, { from: 'earliest' });
  log.append('demo', 'a');
  assert.deepEqual(data(await take(subscription, 1)), ['a']);
  const next = take(subscription, 2);
  await sleep(50);
  log.append('demo', 'b');
  await sleep(50);
  log.append('demo', 'c', 'shipped');
  const [b, c] = await next;
  assert.deepEqual([b.data, b.type, c.data, c.type, c.id], ['b', 'message', 'c', 'shipped', '1002-3']);
  assert.equal(told[0][1].code, 'silent');
  const opened = told.filter(([word]) => word === 'open');
  assert.deepEqual(opened, [['open', { outcome: 'live', cursor: '1000-1' }]], 'long-polls are one opening');
  // A loaded machine may need several attempts up to the first answer; after it, streaming is not tried again.
  const polls = gateway.requests.slice(gateway.requests.findLastIndex(isStream) + 1);
  assert.deepEqual(
    polls.map(({ query }) => query.get('wait')),
    ['0', '25', '25'],
  );
});

test('a gateway that is silent on streams and long-polls is asked for streams again', async () => {
  let isThere = false;
  const { gateway, log } = await behind(() => !isThere);
  const { subscription, told } = watch(gateway);
  const events = take(subscription, 1);
  await until(() => gateway.requests.length >= 4);
  assert.deepEqual(gateway.requests.slice(0, 4).map(isStream), [true, false, true, false]);
  isThere = true;
  await until(() => told.some(([word]) => word === 'open'));
  log.append('demo', 'a');
  assert.deepEqual(data(await events), ['a']);
});

test('where fetch gives no body, events arrive by long-polls at once', async () => {
  const { gateway, log } = await behind(() => false);
  const bodiless = async (url, init) => {
    const response = await fetch(url, init);
    return new Proxy(response, {
      get: (target, name) => {
        if (name === 'body') return undefined;
        const value = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  const { subscription, told } = watch(gateway, { fetch: bodiless });
  const events = take(subscription, 1);
  await until(() => told.length === 1);
  log.append('demo', 'a');
  assert.deepEqual(data(await events), ['a']);
  assert.deepEqual(gateway.requests.map(isStream).slice(0, 2), [true, false]);
  assert.deepEqual(told[0], ['open', { outcome: 'live', cursor: '0-0' }]);
});

test('where Response has no body, as in React Native, no stream is asked for', async () => {
  const { gateway, log } = await behind(() => false);
  const { Response } = globalThis;
  globalThis.Response = class {};
  let watched;
  try {
    watched = watch(gateway, { from: 'earliest' });
  } finally {
    globalThis.Response = Response;
  }
  log.append('demo', 'a');
  assert.deepEqual(data(await take(watched.subscription, 1)), ['a']);
  assert.equal(gateway.requests.some(isStream), false);
});

test('an environment without EventTarget, MessageEvent, TextDecoder and bodies that stream reads', async () => {
  const { gateway, log } = await behind(() => false);
  log.append('demo', 'a');
  const code = `
    // Loads Node's fetch, which needs them.
    new Response();
    for (const name of ['EventTarget', 'Event', 'MessageEvent', 'TextDecoder', 'BroadcastChannel']) {
      delete globalThis[name];
    }
    delete Response.prototype.body;
    const { subscribe } = await import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url))});
    const { tabs } = await import(${JSON.stringify(new URL('../../dist/tabs.js', import.meta.url))});
    for await (const { data } of subscribe('${gateway.url}?topic=demo&from=earliest', { shared: tabs() })) {
      console.log(data);
      break;
    }`;
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  });
  assert.equal(stdout, 'a\n');
  assert.equal(gateway.requests.some(isStream), false);
});

test('a long-poll that is lost is asked again, and no event is missed', async () => {
  const { gateway, log } = await behind((_request, connection, index) => {
    if (index === 1) connection.cut();
    if (index === 2) connection.refuse(503, 'draining');
    return index === 1 || index === 2;
  });
  const { subscription, told } = watch(gateway, { transport: 'long-poll', from: 'earliest' });
  log.append('demo', 'a');
  assert.deepEqual(data(await take(subscription, 1)), ['a']);
  log.append('demo', 'b');
  assert.deepEqual(data(await take(subscription, 1)), ['b']);
  assert.deepEqual(
    told.map(([word, { code, outcome }]) => [word, code ?? outcome]),
    [
      ['open', 'live'],
      ['error', 'network'],
      ['error', 'draining'],
      ['open', 'exact'],
    ],
  );
});

test('a change of topics between two long-polls opens anew', async () => {
  const { gateway, log } = await behind(() => false);
  const { subscription, told } = watch(gateway, { transport: 'long-poll', from: 'earliest' });
  log.append('demo', 'a');
  assert.deepEqual(data(await take(subscription, 1)), ['a']);
  const next = take(subscription, 1);
  // The first attempt ends within these steps, and the second begins with a timer.
  for (let step = 0; step < 100; step++) await null;
  subscription.change({ add: ['other'] });
  await until(() => told.length === 2, 5000);
  log.append('other', 'b');
  assert.deepEqual(data(await next), ['b']);
  assert.deepEqual(
    told.map(([word]) => word),
    ['open', 'open'],
  );
});

test('a token and a ticket that are over between two long-polls are renewed', async () => {
  for (const tickets of [false, true]) {
    let valid = 'one';
    const expires = new Date(Date.now() + 60_000).toISOString();
    const { gateway, log } = await behind(({ method, headers, query }, connection) => {
      const bearer = headers.authorization?.slice('Bearer '.length);
      if (method === 'POST') connection.json({ ticket: bearer, expires });
      else if ((tickets ? query.get('ticket') : bearer) !== valid) connection.refuse(401, 'token_expired');
      else return false;
      return true;
    });
    const token = (renew) => (renew ? 'two' : 'one');
    const { subscription, told } = watch(gateway, {
      transport: 'long-poll',
      from: 'earliest',
      token,
      tickets,
    });
    log.append('demo', 'a');
    assert.deepEqual(data(await take(subscription, 1)), ['a']);
    valid = 'two';
    log.append('demo', 'b');
    assert.deepEqual(data(await take(subscription, 1)), ['b']);
    assert.equal(
      told.some(([word]) => word === 'error'),
      false,
    );
    subscription.close();
  }
});

test('gaps and the end arrive by long-polls, too', async () => {
  const { gateway, log } = await behind(() => false);
  for (let n = 1; n <= 5; n++) log.append('demo', `event ${n}`);
  log.trim('demo', 4);
  log.end('demo');
  const { subscription, told } = watch(gateway, { transport: 'long-poll', cursor: '1000-1' });
  assert.deepEqual(data(await take(subscription, 9)), ['event 4', 'event 5']);
  assert.deepEqual(told, [
    ['open', { outcome: 'gap', cursor: '1004-5' }],
    [
      'gap',
      { topic: 'demo', reason: 'trimmed', missed: 2, requested: null, oldest: '1003-4', newest: '1004-5' },
    ],
    ['end', { topic: 'demo' }],
  ]);
  assert.equal(gateway.requests.length, 1);
});

test('a page that is loaded again within the answer for several topics gets the rest, and nothing twice', async () => {
  const persist = new MemoryStorage();
  const { gateway, log } = await behind(() => false);
  for (let n = 1; n <= 3; n++) {
    log.append('a', `a${n}`);
    log.append('b', `b${n}`);
  }
  const seen = [];
  for (let load = 0; load < 3; load++) {
    const { subscription } = watch(gateway, {
      topics: ['a', 'b'],
      from: 'earliest',
      transport: 'long-poll',
      persist,
    });
    seen.push(...data(await take(subscription, 2)));
    subscription.close();
  }
  assert.deepEqual(seen.sort(), ['a1', 'a2', 'a3', 'b1', 'b2', 'b3']);
});

test('answers that come early and empty, as from a gateway that drains, are not asked for in a loop', async () => {
  const { gateway } = await behind((_request, connection) => {
    connection.json({ events: [], gaps: [], cursor: '0-0', ended: false });
    return true;
  });
  const { subscription } = watch(gateway, { transport: 'long-poll' });
  const events = take(subscription, 1);
  await sleep(1500);
  subscription.close();
  await events;
  assert.ok(gateway.requests.length <= 3, `${gateway.requests.length} requests`);
});

test('an EventSource gets the same messages by long-polls as by a stream', async () => {
  for (const query of ['', '&envelope=json']) {
    const heard = [];
    for (const transport of ['auto', 'long-poll']) {
      const { gateway, log } = await behind(() => false);
      log.append('demo', 'a');
      log.append('demo', 'b', 'shipped');
      const source = new EventSource(`${gateway.url}?topic=demo&from=earliest${query}`, { transport });
      open.push(() => source.close());
      const events = [];
      const note = ({ type, data, lastEventId }) => events.push([type, data, lastEventId]);
      source.onmessage = note;
      source.addEventListener('shipped', note);
      await until(() => events.length === 2);
      heard.push(events);
      source.close();
    }
    assert.deepEqual(heard[0], heard[1]);
  }
});
