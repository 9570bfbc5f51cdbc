// A subscription beside a server that sends raw bytes.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { subscribe, TailwaterError } from '../../dist/index.js';
import { MemoryStorage, sleep, take, until } from '../support/collect.js';
import { eventOf, startFakeGateway } from '../support/fake-gateway.js';

const open = [];

/** Starts a fake gateway whose n-th answer is given by the n-th function, and all later ones by the last. */
async function fake(...answers) {
  const gateway = await startFakeGateway((request, connection, index) =>
    answers[Math.min(index, answers.length - 1)](connection, request),
  );
  open.push(() => gateway.close());
  return gateway;
}

/** Subscribes to `demo`, with short pauses, and notes what the callbacks are told. */
function watch(gateway, options = {}) {
  const told = [];
  const note = (word) => (content) => told.push([word, content]);
  const subscription = subscribe(gateway.url, {
    topics: ['demo'],
    retry: 100,
    onOpen: note('open'),
    onGap: note('gap'),
    onBroken: note('broken'),
    onEnd: note('end'),
    onError: note('error'),
    ...options,
  });
  open.push(() => subscription.close());
  return { subscription, told, words: () => told.map(([word]) => word) };
}

const data = (events) => events.map((event) => event.data);
const numbered = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => `event ${first + n}`);

afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

test('events arrive with topic, type, position and time', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1).event(2, 'demo', 'shipped'));
  const { subscription, told } = watch(gateway);
  assert.deepEqual(await take(subscription, 2), [
    { id: '1-1', topic: 'demo', type: 'message', data: 'event 1', time: '2026-01-31T12:00:00.000Z' },
    { id: '2-2', topic: 'demo', type: 'shipped', data: 'event 2', time: '2026-01-31T12:00:00.000Z' },
  ]);
  assert.deepEqual(told, [['open', { cursor: '0-0', outcome: 'live', node: 'fake' }]]);
  assert.equal(subscription.cursor, '2-2');
  const [{ query, headers }] = gateway.requests;
  assert.deepEqual(query.getAll('topic'), ['demo']);
  assert.equal(query.get('envelope'), 'json');
  assert.equal(headers.accept, 'text/event-stream');
  assert.equal(headers['last-event-id'], undefined);
});

test('nothing is asked for before the first event is', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const { subscription } = watch(gateway);
  await sleep(50);
  assert.equal(gateway.requests.length, 0);
  assert.equal((await take(subscription, 1)).length, 1);
});

test('an event that is cut in its middle is read again, and once', async () => {
  const [head, tail] = [eventOf(2).slice(0, 40), eventOf(2).slice(40)];
  const gateway = await fake(
    (c) => c.stream().ready().event(1).chunk(head).cut(),
    (c) => c.stream().ready({ cursor: '1-1', outcome: 'exact' }).chunk(head).chunk(tail).event(3),
  );
  const { subscription, words } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 3)), numbered(1, 3));
  assert.equal(gateway.requests[1].headers['last-event-id'], '1-1');
  assert.deepEqual(words(), ['open', 'error', 'open']);
});

test('an event that is cut before its id, or before its blank line, is not handed over', async () => {
  const text = eventOf(2);
  for (const length of [text.indexOf('id:'), text.length - 1]) {
    const gateway = await fake(
      (c) => c.stream().ready().event(1).chunk(text.slice(0, length)).end(),
      (c) => c.stream().ready({ cursor: '1-1', outcome: 'exact' }).event(2),
    );
    const { subscription } = watch(gateway);
    assert.deepEqual(data(await take(subscription, 2)), numbered(1, 2));
    assert.equal(gateway.requests[1].headers['last-event-id'], '1-1');
  }
});

test('an event that a server sends again is not handed over again', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().event(1).event(2).cut(),
    (c) => c.stream().ready({ cursor: '0-0' }).event(1).event(2).event(3),
  );
  const { subscription } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 3)), numbered(1, 3));
});

test('characters that are cut in their middle arrive whole', async () => {
  const bytes = Buffer.from(eventOf(1).replace('event 1', 'smörgås 🐟'));
  const gateway = await fake((c) => {
    c.stream().ready();
    for (const byte of bytes)
      c.raw(Buffer.concat([Buffer.from('1\r\n'), Buffer.from([byte]), Buffer.from('\r\n')]));
  });
  const { subscription } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 1)), ['smörgås 🐟']);
});

test('a gateway that refuses connections is tried until it is there', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  await gateway.close();
  const { subscription, told } = watch(gateway);
  const events = take(subscription, 1);
  await until(() => told.length >= 2);
  assert.ok(told.every(([word, error]) => word === 'error' && error.code === 'network' && !error.isFinal));
  await gateway.restart();
  assert.deepEqual(data(await events), ['event 1']);
});

test('a 503 is tried again, and not before Retry-After', async () => {
  const times = [];
  const gateway = await fake(
    (c) => {
      times.push(Date.now());
      c.refuse(503, 'draining', { 'retry-after': '1' });
    },
    (c) => {
      times.push(Date.now());
      c.stream().ready().event(1);
    },
  );
  const { subscription, told } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 1)), ['event 1']);
  assert.equal(told[0][1].code, 'draining');
  assert.equal(told[0][1].message, 'refused: draining');
  // Node's timers may be 1 ms early.
  assert.ok(times[1] - times[0] >= 999, `${times[1] - times[0]} ms`);
});

test('Retry-After may be a date', async () => {
  const times = [];
  const gateway = await fake(
    (c) => {
      times.push(Date.now());
      c.whole(502, '<html>', { 'retry-after': new Date(Date.now() + 2000).toUTCString() });
    },
    (c) => {
      times.push(Date.now());
      c.stream().ready().event(1);
    },
  );
  const { subscription, told } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 1)), ['event 1']);
  assert.equal(told[0][1].code, 'http_502');
  // The date has whole seconds.
  assert.ok(times[1] - times[0] >= 999, `${times[1] - times[0]} ms`);
});

test('204 ends the subscription', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().event(1).end(),
    (c) => c.whole(204),
  );
  const { subscription } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 9)), ['event 1']);
  await sleep(300);
  assert.equal(gateway.requests.length, 2);
});

test('the end of all topics ends the subscription without another request', async () => {
  const gateway = await fake((c) =>
    c
      .stream()
      .ready()
      .event(1, 'demo')
      .control('end', { topic: 'demo' })
      .event(2, 'b')
      .control('end', { topic: 'b' }),
  );
  const { subscription, told } = watch(gateway, { topics: ['demo', 'b'] });
  assert.equal((await take(subscription, 9)).length, 2);
  assert.deepEqual(told.slice(1), [
    ['end', { topic: 'demo' }],
    ['end', { topic: 'b' }],
  ]);
  await sleep(300);
  assert.equal(gateway.requests.length, 1);
  await until(() => gateway.open === 0);
});

for (const [status, code] of [
  [400, 'bad_parameter'],
  [401, 'no_token'],
  [403, 'forbidden'],
  [404, 'not_found'],
]) {
  test(`${status} is final, and has the gateway's message`, async () => {
    const gateway = await fake((c) => c.refuse(status, code));
    const { subscription } = watch(gateway);
    await assert.rejects(take(subscription, 1), (error) => {
      assert.ok(error instanceof TailwaterError);
      assert.deepEqual([error.status, error.code, error.message], [status, code, `refused: ${code}`]);
      assert.equal(error.isFinal, true);
      return true;
    });
    await sleep(200);
    assert.equal(gateway.requests.length, 1);
  });
}

test('an answer of another type is final at first, and passes once a stream was open', async () => {
  const page = (c) => c.whole(200, '<html>', { 'content-type': 'text/html' });
  const portal = await fake(page);
  await assert.rejects(take(watch(portal).subscription, 1), { code: 'not_a_stream' });
  const gateway = await fake(
    (c) => c.stream().ready().event(1).cut(),
    page,
    (c) => c.stream().ready({ cursor: '1-1' }).event(2),
  );
  assert.deepEqual(data(await take(watch(gateway).subscription, 2)), numbered(1, 2));
});

test('a content type with a charset is an event stream', async () => {
  const gateway = await fake((c) => c.stream('text/event-stream; charset=utf-8').ready().event(1));
  assert.equal((await take(watch(gateway).subscription, 1)).length, 1);
});

test('after a 401 the token is asked for once more', async () => {
  const gateway = await fake(
    (c) => c.refuse(401, 'token_expired'),
    (c) => c.stream().ready().event(1),
  );
  const calls = [];
  const token = async (renew) => {
    calls.push(renew);
    return renew ? 'new' : 'old';
  };
  const { subscription, told } = watch(gateway, { token });
  assert.equal((await take(subscription, 1)).length, 1);
  assert.deepEqual(calls, [false, true]);
  assert.deepEqual(
    gateway.requests.map(({ headers }) => headers.authorization),
    ['Bearer old', 'Bearer new'],
  );
  assert.deepEqual(told.length, 1, 'a token that is renewed is no error');
});

test('a second 401 in a row is final', async () => {
  const gateway = await fake((c) => c.refuse(401, 'bad_token'));
  const { subscription } = watch(gateway, { token: () => 'bad' });
  await assert.rejects(take(subscription, 1), { status: 401, code: 'bad_token' });
  assert.equal(gateway.requests.length, 2);
});

test('a token that ends with the stream is asked for again', async () => {
  const gateway = await fake(
    (c) =>
      c
        .stream()
        .ready()
        .event(1)
        .control('reconnect', { reason: 'token_expired' }, 'retry: 100\nid: 1-1\n')
        .end(),
    (c) => c.stream().ready({ cursor: '1-1' }).event(2),
  );
  const calls = [];
  const { subscription, told } = watch(gateway, {
    token: (renew) => {
      calls.push(renew);
      return 'token';
    },
  });
  assert.deepEqual(data(await take(subscription, 2)), numbered(1, 2));
  assert.deepEqual(calls, [false, true]);
  assert.equal(told[1][1].code, 'token_expired');
});

test('a token callback that fails is asked again', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  let calls = 0;
  const { subscription, told } = watch(gateway, {
    token: () => {
      calls++;
      if (calls === 1) throw new Error('offline');
      return 'token';
    },
  });
  assert.equal((await take(subscription, 1)).length, 1);
  assert.match(told[0][1].message, /offline/);
});

test('a token callback that never returns ends with the time for the first byte', async () => {
  const gateway = await fake((c, { headers }) => {
    if (headers.accept === 'text/event-stream') c.stream().ready().event(1);
    else c.json({ events: [], gaps: [], cursor: '0-0', ended: false });
  });
  let calls = 0;
  const token = () => (++calls === 1 ? new Promise(() => {}) : 'token');
  const { subscription, told } = watch(gateway, { token, firstByte: 200 });
  const events = take(subscription, 1);
  await until(() => calls > 1);
  subscription.close();
  assert.deepEqual(await events, []);
  assert.equal(told[0][1].code, 'silent');
});

test('headers come from a function, too', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const { subscription } = watch(gateway, { headers: async () => ({ 'x-app': 'shop' }) });
  await take(subscription, 1);
  assert.equal(gateway.requests[0].headers['x-app'], 'shop');
});

test('a token is exchanged for a ticket, and the stream carries the next', async () => {
  const expires = new Date(Date.now() + 60_000).toISOString();
  const gateway = await fake(
    (c) => c.json({ ticket: 'one', expires }),
    (c) => c.stream().ready({ ticket: 'two' }).event(1).cut(),
    (c) =>
      c
        .stream()
        .ready({ cursor: '1-1', ticket: 'three' })
        .event(2)
        .control('reconnect', { reason: 'drain', ticket: 'four' })
        .end(),
    (c) => c.stream().ready({ cursor: '2-2' }).event(3),
  );
  let calls = 0;
  const token = () => `token ${++calls}`;
  const { subscription } = watch(gateway, { token, tickets: true });
  assert.deepEqual(data(await take(subscription, 3)), numbered(1, 3));
  const [first, ...streams] = gateway.requests;
  assert.deepEqual(
    [first.method, first.path, JSON.parse(first.body)],
    ['POST', '/v1/tickets', { topics: ['demo'] }],
  );
  assert.equal(first.headers.authorization, 'Bearer token 1');
  assert.deepEqual(
    streams.map(({ query, headers }) => [query.get('ticket'), headers.authorization]),
    [
      ['one', undefined],
      ['two', undefined],
      ['four', undefined],
    ],
  );
  assert.equal(calls, 1);
});

test('a ticket that is over is exchanged for a new one at once', async () => {
  const expires = new Date(Date.now() + 60_000).toISOString();
  const gateway = await fake(
    (c) => c.json({ ticket: 'one', expires }),
    (c) => c.stream().ready({ ticket: 'two' }).event(1).cut(),
    (c) => c.stream().control('reconnect', { reason: 'token_expired' }, 'retry: 60000\nid: 1-1\n').end(),
    (c) => c.json({ ticket: 'three', expires }),
    (c) => c.stream().ready({ cursor: '1-1' }).event(2),
  );
  const { subscription } = watch(gateway, { token: () => 'token', tickets: true });
  assert.deepEqual(data(await take(subscription, 2)), numbered(1, 2));
  assert.equal(gateway.requests[4].query.get('ticket'), 'three');
});

test('the ticket of the URL opens the first stream', async () => {
  const gateway = await fake(
    (c) => c.stream().ready({ ticket: 'two' }).event(1).cut(),
    (c) => c.stream().ready({ cursor: '1-1' }).event(2),
  );
  const subscription = subscribe(`${gateway.url}?topic=demo&ticket=o%2Fne`, { retry: 100 });
  assert.deepEqual(data(await take(subscription, 2)), numbered(1, 2));
  assert.deepEqual(
    gateway.requests.map(({ query }) => query.getAll('ticket')),
    [['o/ne'], ['two']],
  );
  subscription.close();
});

test('the pause is that of `retry`', async () => {
  const times = [];
  const gateway = await fake(
    (c) => {
      c.stream().ready({}, 700).event(1).end();
      times.push(Date.now());
    },
    (c) => {
      times.push(Date.now());
      c.stream().ready({ cursor: '1-1' }).event(2);
    },
  );
  const { subscription } = watch(gateway);
  await take(subscription, 2);
  assert.ok(times[1] - times[0] >= 699, `${times[1] - times[0]} ms`);
});

test('a gateway that asks to reconnect at once, again and again, is not flooded', async () => {
  const gateway = await fake((c) =>
    c.stream().control('reconnect', { reason: 'overload' }, 'retry: 0\n').end(),
  );
  const { subscription, told } = watch(gateway);
  const events = take(subscription, 1);
  await sleep(1500);
  subscription.close();
  await events;
  // 100, 200, 400, 800 ms.
  assert.ok(gateway.requests.length <= 5, `${gateway.requests.length} requests`);
  assert.ok(told.every(([word, error]) => word === 'error' && error.code === 'overload'));
});

test('a stream that is silent for 2.5 heartbeats is given up', async () => {
  const gateway = await fake(
    (c) => c.stream().ready({ heartbeat: 0.2 }).event(1),
    (c) => c.stream().ready({ cursor: '1-1', heartbeat: 0.2 }).event(2),
  );
  const { subscription, told } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 2)), numbered(1, 2));
  assert.equal(told[1][1].code, 'silent');
  await until(() => gateway.open === 1);
});

test('heartbeats keep a silent stream', async () => {
  const gateway = await fake((c) => {
    c.stream().ready({ heartbeat: 0.2 });
    for (let n = 1; n <= 10; n++) setTimeout(() => c.chunk(':\n'), 150 * n);
    setTimeout(() => c.event(1), 1600);
  });
  const { subscription, words } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 1)), ['event 1']);
  assert.deepEqual(words(), ['open']);
});

test('a subscriber that is slow is not taken for a dead stream', async () => {
  const gateway = await fake((c) => c.stream().ready({ heartbeat: 0.1 }).event(1).event(2));
  const { subscription, words } = watch(gateway);
  await take(subscription, 1);
  await sleep(600);
  assert.deepEqual(data(await take(subscription, 1)), ['event 2']);
  assert.deepEqual(words(), ['open']);
});

test('heartbeat null switches the watchdog off', async () => {
  const gateway = await fake((c) => {
    c.stream().ready({ heartbeat: null });
    setTimeout(() => c.event(1), 1000);
  });
  const { subscription, words } = watch(gateway, { heartbeat: 0.1 });
  assert.equal((await take(subscription, 1)).length, 1);
  assert.deepEqual(words(), ['open']);
});

test('gaps and resets have callbacks of their own', async () => {
  const gap = { topic: 'demo', reason: 'trimmed', missed: 3, requested: '1-1', oldest: '5-5', newest: '9-9' };
  const reset = { ...gap, reason: 'reset', missed: null, oldest: '1-1', newest: '1-1' };
  const answer = (c) =>
    c.stream().ready().control('gap', gap, 'id: 4-4\n').control('gap', reset, 'id: 0-0\n').event(1);
  const resets = [];
  const { subscription, told } = watch(await fake(answer), { onReset: (content) => resets.push(content) });
  await take(subscription, 1);
  assert.deepEqual(told[1], ['gap', gap]);
  assert.deepEqual(resets, [reset]);
  const other = watch(await fake(answer));
  await take(other.subscription, 1);
  assert.deepEqual(other.told.slice(1), [
    ['gap', gap],
    ['gap', reset],
  ]);
});

test('a publisher that broke off is told, and the topic goes on from there', async () => {
  const broken = { topic: 'demo', reason: 'disconnected' };
  const gateway = await fake(
    (c) => c.stream().ready().event(1).control('broken', broken, 'id: 2-2\n').cut(),
    (c) => c.stream().ready({ cursor: '2-2' }).event(3),
  );
  const { subscription, told } = watch(gateway);
  assert.deepEqual(data(await take(subscription, 2)), ['event 1', 'event 3']);
  const [, [word, content]] = told;
  assert.deepEqual([word, content], ['broken', broken]);
  assert.equal(told.filter(([word]) => word === 'broken').length, 1);
  assert.equal(gateway.requests[1].headers['last-event-id'], '2-2');
});

test('a topic that is opened again keeps the subscription, and its events arrive', async () => {
  const gateway = await fake(
    (c) =>
      c
        .stream()
        .ready()
        .control('end', { topic: 'demo' })
        .control('reopened', { topic: 'demo' })
        .event(1, 'b')
        .control('end', { topic: 'b' })
        .end(),
    (c) => c.stream().ready().event(2, 'demo').control('end', { topic: 'demo' }),
  );
  const { subscription, told } = watch(gateway, { topics: ['demo', 'b'] });
  assert.deepEqual(data(await take(subscription, 9)), ['event 1', 'event 2']);
  const ends = told.filter(([word]) => word === 'end').map(([, { topic }]) => topic);
  assert.deepEqual(ends, ['demo', 'b', 'demo']);
  assert.equal(gateway.requests.length, 2);
});

test('a checkpoint moves the cursor', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().control('cursor', { cursor: '8-8' }, 'id: 8-8\n').cut(),
    (c) => c.stream().ready({ cursor: '8-8' }).event(9),
  );
  const { subscription } = watch(gateway, { types: ['shipped', 'paid'] });
  assert.deepEqual(data(await take(subscription, 1)), ['event 9']);
  assert.equal(gateway.requests[0].query.get('types'), 'shipped,paid');
  assert.equal(gateway.requests[1].headers['last-event-id'], '8-8');
});

test('a cursor that is kept resumes after the page is loaded again', async () => {
  const persist = new MemoryStorage();
  const gateway = await fake((c, request) => {
    const last = Number(request.headers['last-event-id']?.split('-')[1] ?? 0);
    c.stream().ready({ cursor: `${last}-${last}` });
    for (let n = last + 1; n <= 6; n++) c.event(n);
  });
  for (const expected of [numbered(1, 2), numbered(3, 3), numbered(4, 6)]) {
    const { subscription } = watch(gateway, { persist });
    assert.deepEqual(data(await take(subscription, expected.length)), expected);
    subscription.close();
  }
});

test('a full storage keeps no old cursor', async () => {
  const persist = new MemoryStorage();
  const gateway = await fake((c) => c.stream().ready().event(1).event(2));
  const { subscription } = watch(gateway, { persist });
  await take(subscription, 1);
  assert.equal(persist.items.size, 1);
  persist.setItem = () => {
    throw new Error('quota');
  };
  await take(subscription, 1);
  assert.equal(persist.items.size, 0);
});

test('the cursor of a receipt begins after its event', async () => {
  const gateway = await fake((c) => c.stream().ready({ cursor: '7-7' }).event(8));
  const given = watch(gateway, { cursor: '7-7' });
  await take(given.subscription, 1);
  const inUrl = subscribe(`${gateway.url}?last_event_id=6-6&topic=demo&from=-5`);
  await take(inUrl, 1);
  inUrl.close();
  assert.deepEqual(
    gateway.requests.map(({ headers, query }) => [
      headers['last-event-id'],
      query.get('last_event_id'),
      query.get('from'),
    ]),
    [
      ['7-7', null, null],
      ['6-6', null, '-5'],
    ],
  );
});

test('a topic is added with the position of the first, and removed, without losing an event', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().event(1, 'a'),
    (c) => c.stream().ready({ cursor: 'v1.x' }).chunk(eventOf(2, 'a').replace('id: 2-2', 'id: v1.y')),
    (c) => c.stream().ready({ cursor: '5-5' }).event(6, 'b'),
  );
  const { subscription } = watch(gateway, { topics: ['a'] });
  assert.equal((await take(subscription, 1))[0].topic, 'a');
  subscription.change({ add: ['b'] });
  assert.deepEqual(subscription.topics, ['a', 'b']);
  assert.equal((await take(subscription, 1))[0].id, '2-2');
  subscription.change({ remove: ['a'] });
  assert.equal((await take(subscription, 1))[0].topic, 'b');
  assert.deepEqual(
    gateway.requests.map(({ query, headers }) => [
      query.getAll('topic'),
      query.getAll('last_event_id'),
      headers['last-event-id'],
    ]),
    [
      [['a'], [], undefined],
      [['a', 'b'], ['a@1-1'], undefined],
      [['b'], [], 'v1.y'],
    ],
  );
  assert.throws(() => subscription.change({ remove: ['b'] }), RangeError);
});

test('a change that leaves the topics as they are keeps the stream', async () => {
  let connection;
  const gateway = await fake((c) => {
    connection = c.stream().ready().event(1, 'a');
  });
  const { subscription } = watch(gateway, { topics: ['b', 'a'] });
  await take(subscription, 1);
  subscription.change({ add: ['a', 'b'], remove: ['c'] });
  connection.event(2, 'b');
  assert.equal((await take(subscription, 1))[0].data, 'event 2');
  assert.equal(gateway.requests.length, 1);
});

test('events of a topic that is removed are not handed over any more', async () => {
  const gateway = await fake(
    (c) =>
      c
        .stream()
        .chunk(
          `event: tailwater.ready\ndata: {"cursor":"v1.x","outcome":"live"}\nid: v1.x\n\n${eventOf(1, 'a')}${eventOf(2, 'a')}`,
        ),
    (c) => c.stream().ready().event(3, 'b'),
  );
  const { subscription } = watch(gateway, { topics: ['a', 'b'] });
  await take(subscription, 1);
  subscription.change({ remove: ['a'] });
  assert.deepEqual(
    (await take(subscription, 1)).map(({ topic }) => topic),
    ['b'],
  );
});

test('break, close and the signal end the request', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const { subscription } = watch(gateway);
  for await (const event of subscription) {
    assert.equal(event.data, 'event 1');
    break;
  }
  await until(() => gateway.open === 0);

  const controller = new AbortController();
  const other = watch(gateway, { signal: controller.signal });
  assert.equal((await take(other.subscription, 1)).length, 1);
  const rest = take(other.subscription, 1);
  controller.abort();
  assert.deepEqual(await rest, []);
  await until(() => gateway.open === 0);

  const third = watch(gateway, { signal: controller.signal });
  assert.deepEqual(await take(third.subscription, 1), []);
  assert.equal(gateway.requests.length, 2);
});

test('close while nothing arrives ends the wait', async () => {
  const gateway = await fake((c) => c.stream().ready());
  const { subscription, told } = watch(gateway);
  const events = take(subscription, 1);
  await until(() => told.length === 1);
  subscription.close();
  assert.deepEqual(await events, []);
});

test('a callback that throws ends the subscription with its error', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const { subscription } = watch(gateway, {
    onOpen: () => {
      throw new Error('of the page');
    },
  });
  await assert.rejects(take(subscription, 1), /of the page/);
  await until(() => gateway.open === 0);
});
