// Random faults at random places: each event once, and in the order of its topic.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { subscribe } from '../../dist/index.js';
import { MemoryStorage, sleep } from '../support/collect.js';
import { startFakeGateway } from '../support/fake-gateway.js';
import { Log, random, serve } from '../support/model.js';

const SEEDS = Number(process.env.SEEDS ?? 12);
const EVENTS = 60;

/** Reads `EVENTS` events of each topic, while connections are cut at any byte and requests are refused. */
async function run(seed, { topics, loads, buffers }) {
  const next = random(seed);
  const log = new Log();
  const limit = () => (next() < 0.8 ? Math.floor(next() * 1500) : undefined);
  const order = () => (next() < 0.5 ? topics : [...topics].reverse());
  const answer = serve(log, { limit, order, heartbeat: 0.2 });
  const gateway = await startFakeGateway((request, connection, index) => {
    const lot = next();
    if (lot < 0.1) return connection.cut();
    if (lot < 0.2) return connection.refuse(503, 'draining');
    if (buffers && request.headers.accept === 'text/event-stream') return undefined;
    return answer(request, connection, index);
  });
  const persist = new MemoryStorage();
  const heard = Object.fromEntries(topics.map((topic) => [topic, []]));
  const publish = (async () => {
    for (let n = 1; n <= EVENTS; n++) {
      for (const topic of topics) log.append(topic, `${topic} ${n} ${'ä'.repeat(n % 7)}`);
      if (next() < 0.2) await sleep(5);
    }
    for (const topic of topics) log.end(topic);
  })();
  const options = { topics, from: 'earliest', retry: 1, firstByte: 500, persist };
  for (let load = 1; load <= loads; load++) {
    const subscription = subscribe(gateway.url, options);
    let left = load === loads ? Number.POSITIVE_INFINITY : Math.floor((EVENTS * topics.length) / loads);
    for await (const event of subscription) {
      heard[event.topic].push(event.data);
      if (--left === 0) break;
    }
  }
  await publish;
  await gateway.close();
  const expected = (topic) =>
    Array.from({ length: EVENTS }, (_, n) => `${topic} ${n + 1} ${'ä'.repeat((n + 1) % 7)}`);
  for (const topic of topics) assert.deepEqual(heard[topic], expected(topic), `seed ${seed}, topic ${topic}`);
}

for (const [name, plan] of [
  ['one topic', { topics: ['a'], loads: 1 }],
  ['several topics, and the page is loaded again', { topics: ['a', 'b', 'c'], loads: 4 }],
  ['long-polls, and the page is loaded again', { topics: ['a', 'b'], loads: 4, buffers: true }],
]) {
  test(`${name}: ${SEEDS} schedules`, async () => {
    // All at a time: a client mostly waits.
    await Promise.all(Array.from({ length: SEEDS }, (_, seed) => run(seed, plan)));
  });
}
