// Clients of other projects in Node, beside a real gateway.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EventSourcePlus } from 'event-source-plus';
import { sleep } from '../support/collect.js';
import { publish, startNode } from '../support/tailwater.js';

let node;
let held;

// A gateway that one subscriber fills.
beforeEach(async () => {
  node = await startNode('serve', '--max-connections', '1');
  held = await fetch(`${node.url}?topic=t`);
  assert.equal(held.status, 200);
});

afterEach(() => node.kill());

/** Opens a client at an address, which calls the function for each request. */
function hasty(address, onRequest) {
  const source = new EventSourcePlus(`${node.url}?topic=t`, {
    // A client without an address of its own is a balancer on this machine, whose clients are not held.
    headers: { 'x-forwarded-for': address },
    // `abort` does not end the library within a pause; the end of the node does.
    maxRetryCount: 5,
  });
  source.listen({ onMessage() {}, onRequest });
}

test('event-source-plus, which does not wait for `retry`, cannot flood a full gateway', async () => {
  let requests = 0;
  hasty('192.0.2.7', () => {
    requests++;
  });
  await sleep(4000);
  assert.ok(requests > 1, `${requests} requests: it does not come back`);
  assert.ok(requests <= 80, `${requests} requests in 4 s`);
});

test('nor can 200 of them at four addresses, and the subscriber that is there gets its events', async () => {
  const addresses = ['192.0.2.7', '192.0.2.8', '192.0.2.9', '192.0.2.10'];
  const requests = addresses.map(() => 0);
  for (let n = 0; n < 200; n++) {
    const index = n % addresses.length;
    hasty(addresses[index], () => {
      requests[index]++;
    });
  }
  // Each comes once, and some come back before their address has spent its refusals.
  await sleep(1000);
  requests.fill(0);
  for (let n = 1; n <= 40; n++) {
    await publish(node, 't', `event ${n}`);
    await sleep(100);
  }
  for (const [index, count] of requests.entries()) {
    assert.ok(count > 1, `${addresses[index]}: ${count} requests: nobody comes back`);
    assert.ok(count <= 80, `${addresses[index]}: ${count} requests in 4 s`);
  }
  let text = '';
  const decoder = new TextDecoder();
  for await (const bytes of held.body) {
    text += decoder.decode(bytes, { stream: true });
    if (text.includes('event 40')) break;
  }
  assert.equal(text.match(/^data: event \d+$/gm).length, 40);
});
