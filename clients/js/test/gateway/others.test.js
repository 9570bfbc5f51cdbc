// Clients of other projects in Node, beside a real gateway.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventSourcePlus } from 'event-source-plus';
import { sleep } from '../support/collect.js';
import { startNode } from '../support/tailwater.js';

test('event-source-plus, which does not wait for `retry`, cannot flood a full gateway', async () => {
  const node = await startNode('serve', '--max-connections', '1');
  const stop = new AbortController();
  const held = await fetch(`${node.url}?topic=t`, { signal: stop.signal });
  assert.equal(held.status, 200);
  let requests = 0;
  const source = new EventSourcePlus(`${node.url}?topic=t`, {
    // A client without an address of its own is a balancer on this machine, whose clients are not held.
    headers: { 'x-forwarded-for': '192.0.2.7' },
    // `abort` does not end the library within a pause; the end of the node does.
    maxRetryCount: 5,
  });
  source.listen({
    onMessage() {},
    onRequest() {
      requests++;
    },
  });
  await sleep(4000);
  stop.abort();
  await node.kill();
  assert.ok(requests > 1, `${requests} requests: it does not come back`);
  assert.ok(requests <= 80, `${requests} requests in 4 s`);
});
