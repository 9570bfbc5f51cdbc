// A client of another project behind the load balancer of deploy/haproxy.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { EventSourcePolyfill } from 'event-source-polyfill';
import { sleep, until } from '../support/collect.js';
import { startHaproxy } from '../support/haproxy.js';
import { publish, startNode, startRedis } from '../support/tailwater.js';

const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => String(first + n));

const open = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

test('event-source-polyfill, whose cursor is in the query, keeps it while no gateway answers', async () => {
  const redis = await startRedis();
  open.push(() => redis.stop());
  const ingest = await startNode('ingest', '--redis', redis.url);
  open.push(() => ingest.kill());
  const gateway = await startNode('gateway', '--redis', redis.url, '--retry', '500ms');
  open.push(() => gateway.kill());
  const haproxy = await startHaproxy(ingest, gateway);
  open.push(() => haproxy.stop());
  const publishNumbers = async (first, last) => {
    for (const n of numbers(first, last)) await publish(ingest, 't', n);
  };

  const heard = [];
  const reasons = [];
  const source = new EventSourcePolyfill(`${haproxy.url}?topic=t`);
  open.push(() => source.close());
  source.onmessage = ({ data }) => heard.push(data);
  source.addEventListener('tailwater.reconnect', ({ data }) => reasons.push(JSON.parse(data).reason));
  await until(() => source.readyState === EventSourcePolyfill.OPEN);
  await publishNumbers(1, 5);
  await until(() => heard.length === 5);
  await gateway.kill();
  await publishNumbers(6, 10);
  await until(() => reasons.includes('unavailable'));
  await gateway.start();
  await new Promise((resolve) => source.addEventListener('tailwater.ready', resolve));
  await publishNumbers(11, 15);
  await until(() => heard.includes('15'));
  await sleep(200);
  assert.deepEqual(heard, numbers(1, 15));
});
