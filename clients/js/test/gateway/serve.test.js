// The client beside a real node that keeps its log in memory.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { EventSource, subscribe } from '../../dist/index.js';
import { MemoryStorage, take, until } from '../support/collect.js';
import { publish, startNode, TAILWATER } from '../support/tailwater.js';

const open = [];
let node;

before(async () => {
  const history = ['--history-events', '10', '--space', 'orders/'];
  node = await startNode('serve', ...history, '--retry', '500ms', '--heartbeat', '3s');
});
after(() => node.kill());
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

function watch(options, url = node.url) {
  const told = [];
  const note = (word) => (content) => told.push([word, content]);
  const callbacks = {
    onOpen: note('open'),
    onGap: note('gap'),
    onBroken: note('broken'),
    onEnd: note('end'),
    onError: note('error'),
  };
  const subscription = subscribe(url, { ...callbacks, ...options });
  open.push(() => subscription.close());
  return { subscription, told };
}

const data = (events) => events.map((event) => event.data);

for (const transport of ['auto', 'long-poll']) {
  test(`events, types and topics arrive (${transport})`, async () => {
    const topics = [`one-${transport}`, `two-${transport}`];
    for (const topic of topics) await publish(node, topic, `before ${topic}`);
    const { subscription, told } = watch({ topics, from: '-1', transport });
    const first = await take(subscription, 2);
    assert.deepEqual(
      data(first).sort(),
      topics.map((topic) => `before ${topic}`),
    );
    const receipt = await publish(node, topics[0], 'later', { type: 'shipped' });
    const [event] = await take(subscription, 1);
    assert.deepEqual(
      [event.topic, event.type, event.data, event.id],
      [topics[0], 'shipped', 'later', receipt.id],
    );
    assert.equal(new Date(event.time).toISOString(), event.time);
    assert.equal(told[0][1].outcome, 'live');
  });

  test(`a pattern brings the topics of a space, and their names (${transport})`, async () => {
    const prefix = `orders/${transport}`;
    const topics = [`${prefix}/*`, `beside-${transport}`];
    const { subscription, told } = watch({ topics, from: 'earliest', transport });
    await publish(node, `${prefix}/1`, 'a');
    await publish(node, `orders/other-${transport}`, 'not wanted');
    await publish(node, `${prefix}/2`, 'b');
    const names = (events) => events.map(({ topic, data }) => [topic, data]);
    assert.deepEqual(names(await take(subscription, 2)), [
      [`${prefix}/1`, 'a'],
      [`${prefix}/2`, 'b'],
    ]);
    // From the pattern to one that covers it: exact, none is twice.
    await publish(node, `${prefix}/3`, 'c');
    subscription.change({ add: [`${prefix}/**`], remove: [`${prefix}/*`] });
    await publish(node, `${prefix}/3/lines`, 'd');
    assert.deepEqual(names(await take(subscription, 2)), [
      [`${prefix}/3`, 'c'],
      [`${prefix}/3/lines`, 'd'],
    ]);
    // A long-poll whose first answer is not over has no cursor yet, and begins again.
    const outcomes = transport === 'auto' ? ['live', 'exact'] : ['live', 'live'];
    assert.deepEqual(
      told.map(([, { outcome }]) => outcome),
      outcomes,
    );
  });

  test(`a cursor of before the history is a gap with the exact number (${transport})`, async () => {
    const topic = `gap-${transport}`;
    const persist = new MemoryStorage();
    await publish(node, topic, 'event 1');
    const first = watch({ topics: [topic], from: 'earliest', persist, transport });
    assert.deepEqual(data(await take(first.subscription, 1)), ['event 1']);
    first.subscription.close();
    for (let n = 2; n <= 50; n++) await publish(node, topic, `event ${n}`);
    const { subscription, told } = watch({ topics: [topic], persist, transport });
    const [event] = await take(subscription, 1);
    const n = Number(event.data.split(' ')[1]);
    const [[, ready], [word, gap]] = told;
    assert.equal(ready.outcome, 'gap');
    assert.equal(word, 'gap');
    assert.deepEqual([gap.topic, gap.reason, gap.missed, gap.oldest], [topic, 'trimmed', n - 2, event.id]);
    const rest = await take(subscription, 50 - n);
    assert.equal(rest.at(-1)?.data, 'event 50');
  });

  test(`the end of the topic ends the subscription, and that of a page which comes back (${transport})`, async () => {
    const topic = `end-${transport}`;
    const persist = new MemoryStorage();
    const { subscription, told } = watch({ topics: [topic], from: 'earliest', persist, transport });
    await publish(node, topic, 'last', { end: 'true' });
    assert.deepEqual(data(await take(subscription, 9)), ['last']);
    assert.deepEqual(told.at(-1), ['end', { topic }]);
    assert.deepEqual(await take(watch({ topics: [topic], persist, transport }).subscription, 9), []);
  });
}

test('a publisher that breaks off is told', async () => {
  const { subscription, told } = watch({ topics: ['breaks'], from: 'earliest' });
  const publisher = request(`${node.url}?topic=breaks`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
  });
  publisher.on('error', () => {});
  publisher.write('{"data":"before"}\n');
  assert.deepEqual(data(await take(subscription, 1)), ['before']);
  publisher.destroy();
  const next = take(subscription, 1);
  await until(() => told.some(([word]) => word === 'broken'));
  assert.deepEqual(told.at(-1), ['broken', { topic: 'breaks', reason: 'disconnected' }]);
  await publish(node, 'breaks', 'after');
  assert.deepEqual(data(await next), ['after']);
});

test('a topic that is opened again goes on', async () => {
  const topics = ['again', 'beside'];
  const { subscription, told } = watch({ topics, from: 'earliest' });
  await publish(node, 'again', 'the end', { end: 'true' });
  await publish(node, 'beside', 'goes on');
  assert.deepEqual(data(await take(subscription, 2)).sort(), ['goes on', 'the end']);
  const next = take(subscription, 1);
  await until(() => told.some(([word]) => word === 'end'));
  const opened = await fetch(`${node.origin}/v1/topics/again?reopen=true`, { method: 'POST' });
  assert.equal(opened.status, 200);
  await publish(node, 'again', 'more');
  assert.deepEqual(data(await next), ['more']);
});

test('a page goes on after the event whose receipt it was made with', async () => {
  const { id } = await publish(node, 'page', 'in the page');
  await publish(node, 'page', 'after it');
  const { subscription, told } = watch({ topics: ['page'], cursor: id });
  assert.deepEqual(data(await take(subscription, 1)), ['after it']);
  assert.equal(told[0][1].outcome, 'exact');
});

test('only events of the types that are asked for arrive', async () => {
  const { subscription } = watch({ topics: ['types'], types: ['b'], from: 'earliest' });
  for (const type of ['a', 'b', 'c', 'b']) await publish(node, 'types', type, { type });
  assert.deepEqual(data(await take(subscription, 2)), ['b', 'b']);
});

test('data with line breaks and any characters arrives as it was', async () => {
  const text = 'a\n\nb: "ü" \\ 🐟\n data: x';
  const { subscription } = watch({ topics: ['text'], from: 'earliest' });
  await publish(node, 'text', text);
  assert.deepEqual(data(await take(subscription, 1)), [text]);
});

test('a request that is wrong is a final error with the message of the gateway', async () => {
  const { subscription } = watch({ topics: ['demo'], from: 'yesterday' });
  await assert.rejects(take(subscription, 1), ({ status, code, message }) => {
    assert.deepEqual([status, code], [400, 'bad_parameter']);
    assert.match(message, /yesterday/);
    return true;
  });
});

test('an EventSource hears events and control events', async () => {
  const source = new EventSource(`${node.url}?topic=es&from=earliest`);
  open.push(() => source.close());
  const heard = [];
  source.onmessage = ({ data, lastEventId }) => heard.push(['message', data, lastEventId]);
  source.addEventListener('tailwater.end', (event) => heard.push(['end', JSON.parse(event.data)]));
  source.addEventListener('error', ({ error }) => heard.push(['error', error, source.readyState]));
  const { id } = await publish(node, 'es', 'hello');
  await until(() => heard.length === 1);
  await publish(node, 'es', '', { end: 'true' });
  await until(() => heard.length === 3);
  assert.deepEqual(heard, [
    ['message', 'hello', id],
    ['end', { topic: 'es' }],
    ['error', undefined, EventSource.CLOSED],
  ]);
});

test('a log that has been lost is a reset', async () => {
  const other = await startNode('serve', '--retry', '500ms');
  open.push(() => other.kill());
  const resets = [];
  const { subscription } = watch(
    { topics: ['demo'], from: 'earliest', onReset: (gap) => resets.push(gap) },
    other.url,
  );
  for (let n = 1; n <= 3; n++) await publish(other, 'demo', `before ${n}`);
  await take(subscription, 3);
  const next = take(subscription, 1);
  await other.kill();
  await other.start();
  await publish(other, 'demo', 'after');
  assert.deepEqual(data(await next), ['after']);
  assert.equal(resets.length, 1);
  assert.equal(resets[0].topic, 'demo');
});

test('tokens, tickets and rights', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tailwater-js-'));
  open.push(() => rmSync(folder, { recursive: true }));
  const key = join(folder, 'tailwater.key');
  const tickets = join(folder, 'ticket.keys');
  execFileSync(TAILWATER, ['token', 'key', '--out', key]);
  writeFileSync(tickets, `${Buffer.alloc(32, 7).toString('base64')}\n`);
  const mint = (...flags) =>
    execFileSync(TAILWATER, ['token', 'mint', '--key', key, '--sub', 'ann', ...flags], {
      encoding: 'utf8',
    }).trim();
  const good = mint('--subscribe', 'user/{sub}', '--publish', 'user/{sub}');
  assert.ok(readFileSync(`${key}.pub`, 'utf8').length > 0);
  const closed = await startNode(
    'serve',
    '--auth-keys',
    `${key}.pub`,
    '--ticket-keys',
    tickets,
    '--retry',
    '500ms',
  );
  open.push(() => closed.kill());
  await publish(closed, 'user/ann', 'secret', {}, { authorization: `Bearer ${good}` });

  const options = { topics: ['user/ann'], from: 'earliest' };
  await assert.rejects(take(watch(options, closed.url).subscription, 1), { status: 401, code: 'no_token' });
  await assert.rejects(
    take(watch({ ...options, topics: ['user/bob'], token: () => good }, closed.url).subscription, 1),
    {
      status: 403,
      code: 'forbidden',
    },
  );
  for (const more of [
    {},
    { tickets: true },
    { transport: 'long-poll' },
    { transport: 'long-poll', tickets: true },
  ]) {
    const calls = [];
    const token = (renew) => {
      calls.push(renew);
      return renew ? good : 'not-a-token';
    };
    const { subscription, told } = watch({ ...options, token, ...more }, closed.url);
    assert.deepEqual(data(await take(subscription, 1)), ['secret'], JSON.stringify(more));
    assert.deepEqual(calls, [false, true]);
    assert.deepEqual(
      told.map(([word]) => word),
      ['open'],
    );
    subscription.close();
  }
});

for (const transport of ['auto', 'long-poll']) {
  test(`topics are added and removed without losing an event (${transport})`, async () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => `change-${transport}/${name}`);
    const { subscription, told } = watch({ topics: [a], transport });
    const heard = { [a]: [], [b]: [], [c]: [] };
    const reading = (async () => {
      for await (const { topic, data } of subscription) heard[topic].push(data);
    })();
    await until(() => told.length > 0);
    await publish(node, a, 'a1');
    await until(() => heard[a].length === 1);
    // From one topic to two: events that are published meanwhile arrive.
    subscription.change({ add: [b] });
    await publish(node, a, 'a2');
    await until(() => heard[a].length === 2 && told.length === 2);
    await publish(node, b, 'b1');
    await until(() => heard[b].length === 1);
    // One goes, one stays, one comes.
    subscription.change({ add: [c], remove: [a] });
    await publish(node, b, 'b2');
    await publish(node, a, 'a3');
    await until(() => heard[b].length === 2);
    await publish(node, c, 'c1');
    await until(() => heard[c].length === 1);
    // From two to one.
    subscription.change({ remove: [b] });
    await publish(node, c, 'c2');
    await until(() => heard[c].length === 2);
    // From one to another that has a past: it begins live.
    await publish(node, a, 'a4');
    subscription.change({ add: [a], remove: [c] });
    await until(() => subscription.topics[0] === a);
    subscription.close();
    await reading;
    assert.deepEqual(heard, { [a]: ['a1', 'a2'], [b]: ['b1', 'b2'], [c]: ['c1', 'c2'] });
    assert.deepEqual(
      told.filter(([word]) => word !== 'open'),
      [],
    );
    if (transport === 'auto') {
      assert.deepEqual(
        told.slice(0, 3).map(([, { outcome, new: fresh }]) => [outcome, fresh]),
        [
          ['live', undefined],
          ['exact', [b]],
          ['exact', [c]],
        ],
      );
    }
  });
}

test('the watchdog takes its time from the gateway', async () => {
  const { subscription, told } = watch({ topics: ['heartbeat'], heartbeat: 4 });
  const events = take(subscription, 1);
  await until(() => told.length === 1);
  assert.equal(told[0][1].heartbeat, 4);
  subscription.close();
  await events;
});

test('heartbeats that are events are not handed over', async () => {
  const { subscription, told } = watch(
    { topics: ['heartbeat-event'] },
    `${node.url}?heartbeat=event&heartbeat=3`,
  );
  const events = take(subscription, 1);
  await until(() => told.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 3500));
  await publish(node, 'heartbeat-event', 'event');
  assert.deepEqual(data(await events), ['event']);
});
