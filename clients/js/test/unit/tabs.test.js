// Tabs that share one stream, in one process: locks and channels are fakes, and the gateway is a model.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EventSource, subscribe } from '../../dist/index.js';
import { tabs as sharing } from '../../dist/tabs.js';
import { FakeChannels, FakeLocks } from '../support/browser.js';
import { MemoryStorage, sleep, take, until } from '../support/collect.js';
import { startFakeGateway } from '../support/fake-gateway.js';
import { Log, random, serve } from '../support/model.js';

const SEEDS = Number(process.env.SEEDS ?? 4);
const open = [];
const { BroadcastChannel, navigator } = globalThis;
let locks;
let channels;

beforeEach(() => {
  locks = new FakeLocks();
  channels = new FakeChannels();
  globalThis.BroadcastChannel = channels.BroadcastChannel;
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true, writable: true });
});

afterEach(async () => {
  for (const close of open.splice(0)) await close();
  globalThis.BroadcastChannel = BroadcastChannel;
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true });
});

async function cluster(options) {
  const log = new Log();
  const gateway = await startFakeGateway(serve(log, options));
  open.push(() => gateway.close());
  return { log, gateway, streams: () => gateway.requests.filter(isStream).length };
}

const isStream = ({ headers }) => headers.accept === 'text/event-stream';

/** A tab that reads on its own, and notes all it gets. */
function tab(gateway, options = {}) {
  const heard = [];
  const told = [];
  const note = (word) => (content) => told.push([word, content]);
  const subscription = subscribe(gateway.url, {
    topics: ['demo'],
    shared: sharing(),
    retry: 100,
    onOpen: note('open'),
    onGap: note('gap'),
    onEnd: note('end'),
    onError: note('error'),
    ...options,
  });
  open.push(() => subscription.close());
  const reading = (async () => {
    for await (const event of subscription) heard.push(event.data);
  })();
  reading.catch(() => {});
  return { subscription, heard, told, reading, isOpen: () => told.some(([word]) => word === 'open') };
}

const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => `event ${first + n}`);

function publish(log, first, last, topic = 'demo') {
  for (let n = first; n <= last; n++) log.append(topic, `event ${n}`);
}

async function hear(tabs, expected) {
  await until(() => tabs.every(({ heard }) => heard.length >= expected.length));
  await sleep(50);
  for (const { heard } of tabs) assert.deepEqual(heard, expected);
}

test('seven tabs share one stream, and each gets all events', async () => {
  const { log, gateway } = await cluster();
  const tabs = Array.from({ length: 7 }, () => tab(gateway));
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  publish(log, 1, 20);
  await hear(tabs, numbers(1, 20));
  assert.equal(gateway.requests.length, 1);
});

test('the leader is closed: the next goes on from its own cursor', async () => {
  const { log, gateway, streams } = await cluster();
  const tabs = Array.from({ length: 4 }, () => tab(gateway));
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  publish(log, 1, 5);
  await hear(tabs, numbers(1, 5));
  tabs[0].subscription.close();
  publish(log, 6, 10);
  await hear(tabs.slice(1), numbers(1, 10));
  assert.equal(streams(), 2);
  assert.equal(gateway.requests.at(-1).headers['last-event-id'], '1004-5');
  assert.deepEqual(
    tabs[1].told.map(([word]) => word),
    ['open', 'open'],
    'no error, and ready of the next stream',
  );
});

test('the page of the leader goes away without a word, and with posts that did not arrive', async () => {
  const { log, gateway } = await cluster();
  const tabs = Array.from({ length: 4 }, () => tab(gateway));
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  // The last posts of the leader are lost on their way to some tabs.
  let posts = 0;
  channels.loses = ({ kind }) => kind === 'step' && posts++ % 3 === 0;
  publish(log, 1, 5);
  await until(() => tabs[0].heard.length === 5);
  channels.loses = () => false;
  tabs[0].subscription.close();
  publish(log, 6, 10);
  await hear(tabs.slice(1), numbers(1, 10));
});

test('a leader that hangs loses the lead, and gets everything when it is back', async () => {
  const { log, gateway, streams } = await cluster();
  const tabs = Array.from({ length: 3 }, () => tab(gateway));
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  publish(log, 1, 3);
  await hear(tabs, numbers(1, 3));
  // It neither posts nor answers. Its own stream still runs.
  const leading = await currentTerm(channels);
  let hung = true;
  channels.loses = ({ term }) => hung && term === leading;
  publish(log, 4, 6);
  await until(() => tabs.slice(1).every(({ heard }) => heard.length === 6), 30_000);
  hung = false;
  publish(log, 7, 9);
  await hear(tabs, numbers(1, 9));
  assert.ok(streams() <= 3, `${streams()} streams`);
});

/** The term of the leader, by its answer to a question. */
function currentTerm(channels) {
  const [name] = locks.names;
  const channel = new channels.BroadcastChannel(name);
  return new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      channel.close();
      resolve(data.term);
    };
    channel.postMessage({ kind: 'hello' });
  });
}

test('a tab that opens later gets the events from then on, with one stream for all', async () => {
  const { log, gateway, streams } = await cluster();
  const first = tab(gateway);
  await until(first.isOpen);
  publish(log, 1, 5);
  await hear([first], numbers(1, 5));
  const second = tab(gateway);
  await until(second.isOpen);
  assert.deepEqual(second.told, [['open', { outcome: 'live', cursor: '1004-5' }]]);
  publish(log, 6, 9);
  await hear([second], numbers(6, 9));
  await hear([first], numbers(1, 9));
  assert.equal(streams(), 1);
});

test('a tab that opens later with `from` gets the past, too', async () => {
  const { log, gateway, streams } = await cluster();
  publish(log, 1, 5);
  const first = tab(gateway, { from: '-3' });
  await hear([first], numbers(3, 5));
  publish(log, 6, 7);
  await hear([first], numbers(3, 7));
  const second = tab(gateway, { from: '-3' });
  await hear([second], numbers(5, 7));
  publish(log, 8, 9);
  await hear([first], numbers(3, 9));
  await hear([second], numbers(5, 9));
  assert.equal(streams(), 1);
});

test('a tab that is loaded again resumes from its own cursor, beside a leader that is farther', async () => {
  const { log, gateway, streams } = await cluster();
  const persist = new MemoryStorage();
  const first = tab(gateway);
  const second = tab(gateway, { persist });
  await until(() => first.isOpen() && second.isOpen());
  publish(log, 1, 3);
  await hear([first, second], numbers(1, 3));
  second.subscription.close();
  publish(log, 4, 6);
  await hear([first], numbers(1, 6));
  const again = tab(gateway, { persist });
  await hear([again], numbers(4, 6));
  publish(log, 7, 8);
  await hear([again], numbers(4, 8));
  assert.equal(streams(), 1);
});

test('a tab whose subscriber is slow keeps no more than the bound, and catches up', async () => {
  const { log, gateway } = await cluster();
  const fast = tab(gateway);
  await until(fast.isOpen);
  let isOpen = false;
  const slow = subscribe(gateway.url, {
    topics: ['demo'],
    shared: sharing(),
    onOpen: () => {
      isOpen = true;
    },
  });
  open.push(() => slow.close());
  const first = take(slow, 1);
  await until(() => isOpen);
  publish(log, 1, 3000);
  await until(() => fast.heard.length === 3000);
  const rest = await take(slow, 2999);
  const got = [...(await first), ...rest].map(({ data }) => data);
  assert.equal(got.length, 3000);
  assert.deepEqual(got.slice(-1), ['event 3000']);
  assert.equal(new Set(got).size, 3000);
});

test('the end and a final error reach all tabs', async () => {
  const { log, gateway } = await cluster();
  const tabs = [tab(gateway), tab(gateway), tab(gateway)];
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  publish(log, 1, 2);
  log.end('demo');
  await Promise.all(tabs.map(({ reading }) => reading));
  await hear(tabs, numbers(1, 2));
  for (const { told } of tabs) assert.deepEqual(told.at(-1), ['end', { topic: 'demo' }]);

  const closed = await startFakeGateway((_request, connection) => connection.refuse(403, 'forbidden'));
  open.push(() => closed.close());
  const refused = [tab(closed), tab(closed)];
  for (const { reading } of refused) await assert.rejects(reading, { status: 403, code: 'forbidden' });
});

test('a tab that opens after the end of a topic beside others is told of it', async () => {
  const { log, gateway, streams } = await cluster();
  const options = { topics: ['a', 'b'] };
  const first = tab(gateway, options);
  await until(first.isOpen);
  log.end('a');
  await until(() => first.told.length === 2);
  const second = tab(gateway, options);
  await until(() => second.told.length === 2);
  assert.deepEqual(second.told[1], ['end', { topic: 'a' }]);
  log.append('b', 'b1');
  log.end('b');
  await Promise.all([first.reading, second.reading]);
  await hear([first, second], ['b1']);
  assert.deepEqual(second.told.at(-1), ['end', { topic: 'b' }]);
  assert.equal(streams(), 1);
});

test('tabs of other users, topics and filters share nothing', async () => {
  const { log, gateway, streams } = await cluster();
  const tabs = [
    tab(gateway, { shared: sharing('ann') }),
    tab(gateway, { shared: sharing('bob') }),
    tab(gateway, { topics: ['other'] }),
    tab(gateway, { types: ['message'] }),
  ];
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  assert.equal(streams(), 4);
  publish(log, 1, 1);
  await hear([tabs[0], tabs[1], tabs[3]], ['event 1']);
});

test('a tab that changes its topics joins those that read them, and loses nothing', async () => {
  const { log, gateway } = await cluster();
  const one = tab(gateway, { topics: ['a'] });
  const both = tab(gateway, { topics: ['a', 'b'] });
  await until(() => one.isOpen() && both.isOpen());
  log.append('a', 'a1');
  await hear([one, both], ['a1']);
  one.subscription.change({ add: ['b'] });
  log.append('a', 'a2');
  await until(() => one.heard.length === 2);
  log.append('b', 'b1');
  await hear([one, both], ['a1', 'a2', 'b1']);
});

test('an EventSource shares, too, and its events look as without', async () => {
  const { log, gateway, streams } = await cluster();
  const heard = [];
  const sources = Array.from({ length: 3 }, (_, index) => {
    const source = new EventSource(`${gateway.url}?topic=demo`, { shared: sharing() });
    open.push(() => source.close());
    source.onmessage = ({ type, data, lastEventId }) => heard.push([index, type, data, lastEventId]);
    source.addEventListener('shipped', ({ type, data, lastEventId }) =>
      heard.push([index, type, data, lastEventId]),
    );
    return source;
  });
  await until(() => sources.every(({ readyState }) => readyState === 1));
  log.append('demo', 'a');
  log.append('demo', 'b', 'shipped');
  await until(() => heard.length === 6);
  for (let index = 0; index < 3; index++) {
    assert.deepEqual(
      heard.filter(([of]) => of === index).map(([, ...event]) => event),
      [
        ['message', 'a', '1000-1'],
        ['shipped', 'b', '1001-2'],
      ],
    );
  }
  assert.equal(streams(), 1);
});

test('without web locks, each tab has a stream of its own', async () => {
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true, writable: true });
  const { log, gateway, streams } = await cluster();
  const tabs = [tab(gateway), tab(gateway)];
  await until(() => tabs.every(({ isOpen }) => isOpen()));
  publish(log, 1, 3);
  await hear(tabs, numbers(1, 3));
  assert.equal(streams(), 2);
});

test('posts are lost, streams are cut, tabs come and go at random: each event once, in order', async () => {
  await Promise.all(Array.from({ length: SEEDS }, (_, seed) => schedule(seed)));
});

async function schedule(seed) {
  const next = random(seed);
  const topics = ['a', 'b'];
  const log = new Log();
  const limit = () => (next() < 0.7 ? Math.floor(next() * 4000) : undefined);
  const order = () => (next() < 0.5 ? topics : [...topics].reverse());
  const gateway = await startFakeGateway(serve(log, { limit, order, heartbeat: 0.5 }));
  open.push(() => gateway.close());
  channels.loses = ({ kind }) => kind !== 'hello' && next() < 0.05;
  const start = () =>
    tab(gateway, { topics, shared: sharing(`schedule ${seed}`), retry: 1, from: 'earliest' });
  const tabs = Array.from({ length: 4 }, start);
  const closed = new Set();
  for (let n = 1; n <= 100; n++) {
    for (const topic of topics) log.append(topic, `${topic} ${n}`);
    if (next() < 0.3) await sleep(10);
    if (n % 25 === 0) {
      const index = Math.floor(next() * tabs.length);
      tabs[index].subscription.close();
      closed.add(tabs[index]);
      tabs.push(start());
    }
  }
  for (const topic of topics) log.end(topic);
  const expected = (topic) => Array.from({ length: 100 }, (_, n) => `${topic} ${n + 1}`);
  for (const { heard, reading, ...one } of tabs) {
    if (closed.has([...closed].find((other) => other.heard === heard))) continue;
    await reading;
    for (const topic of topics) {
      assert.deepEqual(
        heard.filter((data) => data.startsWith(topic)),
        expected(topic),
        `seed ${seed}`,
      );
    }
    assert.equal(
      one.told.some(([word]) => word === 'gap'),
      false,
    );
  }
}
