// The client beside a real cluster: gateways that are killed and drained, and Redis that keeps the log.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EventSource, subscribe } from '../../dist/index.js';
import { until } from '../support/collect.js';
import { publish, startBalancer, startNode, startRedis } from '../support/tailwater.js';

let redis;
let ingest;
let gateways;
let balancer;

before(async () => {
  redis = await startRedis();
  const flags = ['--redis', redis.url];
  // A fast machine publishes more events than the log keeps otherwise.
  ingest = await startNode('ingest', ...flags, '--history-events', '1000000');
  const start = () =>
    startNode(
      'gateway',
      ...flags,
      '--retry',
      '500ms',
      '--heartbeat',
      '3s',
      '--drain-delay',
      '0s',
      '--drain-window',
      '1s',
    );
  gateways = [await start(), await start()];
  balancer = await startBalancer(gateways);
});

after(async () => {
  await balancer?.close();
  for (const node of [...(gateways ?? []), ingest]) await node?.kill();
  await redis?.stop();
});

/** Publishes numbers until it is stopped, and returns how many there were. */
function publishNumbers(topic) {
  let isStopped = false;
  const done = (async () => {
    let n = 0;
    while (!isStopped) await publish(ingest, topic, String(++n));
    return n;
  })();
  return () => {
    isStopped = true;
    return done;
  };
}

/** Reads numbers in each way in which an application can. */
function readers(topic) {
  const readers = [];
  for (const options of [{}, { transport: 'long-poll' }]) {
    const subscription = subscribe(balancer.url, { topics: [topic], from: 'earliest', ...options });
    const heard = [];
    (async () => {
      for await (const { data } of subscription) heard.push(Number(data));
    })();
    readers.push({ heard, close: () => subscription.close() });
  }
  const heard = [];
  const source = new EventSource(`${balancer.url}?topic=${topic}&from=earliest`);
  source.onmessage = ({ data }) => heard.push(Number(data));
  readers.push({ heard, close: () => source.close() });
  return readers;
}

async function hearsEverything(topic, disturb) {
  const all = readers(topic);
  const stop = publishNumbers(topic);
  try {
    await until(() => all.every(({ heard }) => heard.length > 5));
    await disturb();
  } finally {
    const count = await stop();
    await until(() => all.every(({ heard }) => heard.at(-1) === count)).finally(() => {
      for (const { close } of all) close();
    });
    const expected = Array.from({ length: count }, (_, n) => n + 1);
    for (const { heard } of all) assert.deepEqual(heard, expected);
  }
}

/** Waits until the two streams are there again, so that the next fault finds them. */
const reconnected = () => until(() => balancer.streams.size === 2);

test('a gateway that is killed loses no event and sends none twice', async () => {
  await hearsEverything('killed', async () => {
    await gateways[0].kill();
    await reconnected();
    await gateways[0].start();
    await gateways[1].kill();
    await reconnected();
    await gateways[1].start();
  });
});

test('all gateways are away for a while', async () => {
  await hearsEverything('away', async () => {
    await Promise.all(gateways.map((gateway) => gateway.kill()));
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await Promise.all(gateways.map((gateway) => gateway.start()));
    await reconnected();
  });
});

test('a gateway that drains hands its clients over', async () => {
  await hearsEverything('drained', async () => {
    await gateways[0].kill('SIGTERM');
    await reconnected();
    await gateways[0].start();
  });
});
