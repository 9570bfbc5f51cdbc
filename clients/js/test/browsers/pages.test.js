// The client in real browsers, beside a real cluster behind a balancer.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { sleep, until } from '../support/collect.js';
import {
  BROWSER_NAMES,
  heardIn,
  isOpenIn,
  launch,
  listenIn,
  openPage,
  servePages,
  subscribeIn,
} from '../support/pages.js';
import { publish, startCluster } from '../support/tailwater.js';

let pages;
let cluster;
let ingest;
let gateways;
let balancer;

before(async () => {
  pages = await servePages();
  cluster = await startCluster(pages.origin, '--heartbeat', '3s');
  ({ ingest, gateways, balancer } = cluster);
});

after(async () => {
  await cluster?.close();
  await pages?.close();
});

const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

async function publishNumbers(topic, first, last) {
  for (let n = first; n <= last; n++) await publish(ingest, topic, String(n));
}

/** Waits until pages have heard as many events, and for one more moment, in which nothing may follow. */
async function hear(open, expected) {
  await until(async () => {
    const heard = await Promise.all(open.map(heardIn));
    return heard.every(({ length }) => length >= expected.length);
  });
  await sleep(200);
  for (const page of open) assert.deepEqual(await heardIn(page), expected);
}

const areOpen = (open) => until(async () => (await Promise.all(open.map(isOpenIn))).every(Boolean));

for (const name of BROWSER_NAMES) {
  describe(name, () => {
    let browser;
    let open = [];

    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());
    afterEach(async () => {
      for (const page of open) await page.close();
      open = [];
      await until(() => balancer.streams.size === 0);
    });

    async function openPages(count) {
      for (let n = 0; n < count; n++) open.push(await openPage(browser, pages.origin));
      return open;
    }

    /** Opens tabs that share a stream, one after the other, so that the first leads and the others follow in order. */
    async function openTabs(count, options) {
      for (let n = 0; n < count; n++) {
        const page = await openPage(browser, pages.origin);
        open.push(page);
        await subscribeIn(page, balancer.url, { ...options, shares: true });
        await areOpen([page]);
      }
      return open;
    }

    test('a stream resumes after its gateway was killed, and after all gateways were away for 2 s', async () => {
      const topic = `resume-${name}`;
      const [iterator, source, poll] = await openPages(3);
      await subscribeIn(iterator, balancer.url, { topics: [topic] });
      await subscribeIn(poll, balancer.url, { topics: [topic], transport: 'long-poll' });
      await listenIn(source, `${balancer.url}?topic=${topic}`);
      await areOpen(open);
      await publishNumbers(topic, 1, 10);
      await gateways[0].kill();
      await publishNumbers(topic, 11, 20);
      await hear(open, numbers(1, 20));
      await gateways[1].kill();
      await publishNumbers(topic, 21, 30);
      await sleep(2000);
      await Promise.all(gateways.map((gateway) => gateway.start()));
      await publishNumbers(topic, 31, 40);
      await hear(open, numbers(1, 40));
    });

    test('a worker reads', async () => {
      const topic = `worker-${name}`;
      const [page] = await openPages(1);
      await page.evaluate(
        (url, options) => {
          const code = `
            import { subscribe } from '${location.origin}/dist/index.js';
            for await (const { data } of subscribe('${url}', ${JSON.stringify(options)})) postMessage(data);`;
          const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })), {
            type: 'module',
          });
          worker.onmessage = ({ data }) => window.heard.push(Number(data));
        },
        balancer.url,
        { topics: [topic], from: 'earliest' },
      );
      await publishNumbers(topic, 1, 5);
      await hear(open, numbers(1, 5));
    });

    test('a page that is loaded again goes on where it was', async () => {
      const topic = `reload-${name}`;
      const [page] = await openPages(1);
      const options = { topics: [topic], persists: true };
      await subscribeIn(page, balancer.url, options);
      await areOpen(open);
      await publishNumbers(topic, 1, 5);
      await hear(open, numbers(1, 5));
      await page.reload();
      await page.waitForFunction('window.client');
      await publishNumbers(topic, 6, 9);
      await subscribeIn(page, balancer.url, options);
      await hear(open, numbers(6, 9));
    });

    test('seven tabs share one stream, and the leader is closed', async () => {
      const topic = `tabs-${name}`;
      await openTabs(7, { topics: [topic] });
      assert.equal(balancer.streams.size, 1);
      await publishNumbers(topic, 1, 10);
      await hear(open, numbers(1, 10));
      const publishing = publishNumbers(topic, 11, 40);
      await open.shift().close();
      await publishing;
      await hear(open, numbers(1, 40));
      assert.equal(balancer.streams.size, 1);
    });

    test('seven tabs survive the death of the gateway of their stream', async () => {
      const topic = `tabs-killed-${name}`;
      await openTabs(7, { topics: [topic] });
      const publishing = publishNumbers(topic, 1, 40);
      await gateways[0].kill();
      await publishing;
      await hear(open, numbers(1, 40));
      await gateways[0].start();
      assert.equal(balancer.streams.size, 1);
    });

    test('a leader that hangs loses the lead, and gets everything when it is back', async () => {
      const topic = `tabs-hung-${name}`;
      await openTabs(3, { topics: [topic] });
      await publishNumbers(topic, 1, 5);
      await hear(open, numbers(1, 5));
      const [hung, ...others] = open;
      const back = hung.evaluate(() => {
        const end = Date.now() + 15_000;
        while (Date.now() < end);
      });
      await publishNumbers(topic, 6, 10);
      await hear(others, numbers(1, 10));
      await back;
      await publishNumbers(topic, 11, 15);
      await hear(open, numbers(1, 15));
      await until(() => balancer.streams.size === 1);
    });

    test('a tab with `from` that opens later gets the past, and one that is loaded again goes on', async () => {
      const topic = `tabs-late-${name}`;
      await publishNumbers(topic, 1, 3);
      const options = { topics: [topic], from: 'earliest', persists: true };
      const [first] = await openTabs(1, options);
      await hear([first], numbers(1, 3));
      await publishNumbers(topic, 4, 6);
      const [, second] = await openTabs(1, options);
      await hear([first, second], numbers(1, 6));
      await first.reload();
      await first.waitForFunction('window.client');
      await publishNumbers(topic, 7, 9);
      await subscribeIn(first, balancer.url, { ...options, shares: true });
      await hear([first], numbers(7, 9));
      await hear([second], numbers(1, 9));
      await until(() => balancer.streams.size === 1);
    });

    if (name !== 'Chromium') return;

    test('each of seven tabs is frozen in turn, the leader first, and gets everything when it is back', async () => {
      const topic = 'tabs-frozen';
      await openTabs(7, { topics: [topic] });
      let last = 0;
      const more = async (tabs) => {
        await publishNumbers(topic, last + 1, last + 5);
        last += 5;
        await hear(tabs, numbers(1, last));
      };
      await more(open);
      for (const page of open) {
        const session = await page.createCDPSession();
        await session.send('Page.setWebLifecycleState', { state: 'frozen' });
        // The page stands still, so only the others are asked.
        await more(open.filter((other) => other !== page));
        await session.send('Page.setWebLifecycleState', { state: 'active' });
        await more(open);
        await until(() => balancer.streams.size === 1);
      }
    });
  });
}
