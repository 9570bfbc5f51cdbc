// Clients of other projects in real browsers, where their habits meet the gateway: a row of docs/clients each.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { sleep, until } from '../support/collect.js';
import { BROWSER_NAMES, launch, servePages } from '../support/pages.js';
import { publish, startCluster } from '../support/tailwater.js';

const scripts = {};
let pages;
let cluster;
let ingest;
let gateways;
let balancer;

before(async () => {
  pages = await servePages(scripts);
  cluster = await startCluster(pages.origin);
  ({ ingest, gateways, balancer } = cluster);
  balancer.answers = true;
});

after(async () => {
  await cluster?.close();
  await pages?.close();
});

/** Bundles a module that has these packages. */
async function bundle(contents) {
  const resolveDir = fileURLToPath(new URL('.', import.meta.url));
  const { outputFiles } = await build({
    stdin: { contents, resolveDir },
    bundle: true,
    write: false,
    format: 'iife',
  });
  return outputFiles[0].text;
}

const watchdog = readFileSync(
  new URL('../../../../interop/npm/pages/native-watchdog.js', import.meta.url),
  'utf8',
);

/** Opens a page with this content and this script, which adds a <p> for each event. */
async function openPage(browser, name, script, content = '') {
  scripts['/other.js'] = await bundle(`
    const print = ({ data }) => {
      const line = document.createElement('p');
      line.textContent = data;
      document.body.append(line);
    };
    ${script}`);
  scripts[`/${name}.html`] = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <body>${content}<script src="/other.js"></script>`;
  const page = await browser.newPage();
  await page.goto(`${pages.origin}/${name}.html`);
  return page;
}

const shown = (page) => page.$$eval('p', (all) => all.map(({ textContent }) => textContent));
const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => String(first + n));

async function publishNumbers(topic, first, last) {
  for (const n of numbers(first, last)) await publish(ingest, topic, n);
}

/** Waits until a page shows as many events, and for one more moment, in which nothing may follow. */
async function shows(page, expected) {
  await until(async () => (await shown(page)).length >= expected.length);
  await sleep(1000);
  assert.deepEqual(await shown(page), expected);
}

for (const browserName of BROWSER_NAMES) {
  describe(browserName, () => {
    let browser;

    before(async () => {
      browser = await launch(browserName);
    });
    after(() => browser?.close());
    afterEach(async () => {
      for (const page of (await browser.pages()).slice(1)) await page.close();
      await until(() => balancer.streams.size === 0);
    });

    test('htmx 2, which always sends credentials, reads from another origin', async () => {
      const topic = `htmx-${browserName}`;
      const page = await openPage(
        browser,
        topic,
        `window.htmx = require('htmx.org'); require('htmx-ext-sse');`,
        `<div hx-ext="sse" sse-connect="${balancer.url}?topic=${topic}" sse-close="tailwater.end"
          sse-swap="message" hx-swap="beforeend"></div>`,
      );
      await until(() => balancer.streams.size === 1);
      for (const n of numbers(1, 5)) await publish(ingest, topic, `<p>${n}</p>`);
      await shows(page, numbers(1, 5));
    });

    test('fetch-event-source with the `onopen` of its README, which compares the type, has a stream', async () => {
      const topic = `fetch-${browserName}`;
      const page = await openPage(
        browser,
        topic,
        `import { EventStreamContentType, fetchEventSource } from '@microsoft/fetch-event-source';
        fetchEventSource('${balancer.url}?topic=${topic}', {
          async onopen(response) {
            if (!response.ok || response.headers.get('content-type') !== EventStreamContentType) throw new Error();
          },
          onmessage: (message) => message.event === '' && print(message),
        });`,
      );
      await until(() => balancer.streams.size === 1);
      await publishNumbers(topic, 1, 5);
      await shows(page, numbers(1, 5));
    });

    test('a page with the watchdog of docs/clients leaves a gateway that hangs, and keeps a quiet stream', async () => {
      const topic = `watchdog-${browserName}`;
      const url = `${balancer.url}?topic=${topic}&heartbeat=event&heartbeat=3`;
      const page = await openPage(
        browser,
        topic,
        `const url = '${url}';
        window.opened = 0;
        const EventSource = class extends window.EventSource {
          constructor(url) {
            super(url);
            window.opened++;
          }
        };
        const console = { log: (data) => print({ data }) };
        ${watchdog}`,
      );
      const opened = () => page.evaluate(() => window.opened);
      await until(() => balancer.streams.size === 1);
      await publishNumbers(topic, 1, 5);
      await sleep(9000);
      assert.equal(await opened(), 1);
      gateways[0].freeze();
      await publishNumbers(topic, 6, 10);
      await until(async () => (await opened()) === 2);
      await gateways[0].kill();
      await shows(page, numbers(1, 10));
      await gateways[0].start();
    });

    test('a page that opens an EventSource for other topics misses nothing of those that stay', async () => {
      const [a, b, c] = ['a', 'b', 'c'].map((topic) => `change-${topic}-${browserName}`);
      const page = await openPage(
        browser,
        `change-${browserName}`,
        `window.read = (...topics) => {
          const url = new URL('${balancer.url}');
          for (const topic of topics) url.searchParams.append('topic', topic);
          if (window.cursor) url.searchParams.set('last_event_id', window.cursor);
          window.source = new EventSource(url);
          window.source.onmessage = (event) => {
            window.cursor = event.lastEventId;
            print(event);
          };
        };`,
      );
      const read = (...topics) => page.evaluate((...topics) => window.read(...topics), ...topics);
      await read(a, b);
      await until(() => balancer.streams.size === 1);
      await publish(ingest, a, 'a1');
      await publish(ingest, b, 'b1');
      await shows(page, ['a1', 'b1']);
      await page.evaluate(() => window.source.close());
      await until(() => balancer.streams.size === 0);
      await publish(ingest, b, 'b2');
      await read(b, c);
      await until(() => balancer.streams.size === 1);
      await publish(ingest, c, 'c1');
      await shows(page, ['a1', 'b1', 'b2', 'c1']);
    });

    // The second takes over from the browser's own, which gives up when a balancer without a gateway answers.
    const polyfills = {
      'event-source-polyfill': {
        script: `import { EventSourcePolyfill as Source } from 'event-source-polyfill';`,
        killed: [0],
      },
      'reconnecting-eventsource': {
        script: `import Source from 'reconnecting-eventsource';`,
        killed: [0, 1],
      },
    };
    for (const [name, { script, killed }] of Object.entries(polyfills)) {
      test(`${name}, which appends a second cursor, goes on from it and not from the page's`, async () => {
        const topic = `${name}-${browserName}`;
        const { id } = await publish(ingest, topic, '0');
        await publishNumbers(topic, 1, 10);
        const url = `${balancer.url}?topic=${topic}&last_event_id=${id}`;
        const page = await openPage(
          browser,
          topic,
          `${script} new Source('${url}').addEventListener('message', print);`,
        );
        await shows(page, numbers(1, 10));
        for (const index of killed) await gateways[index].kill();
        await publishNumbers(topic, 11, 20);
        await sleep(1000);
        for (const index of killed) await gateways[index].start();
        await shows(page, numbers(1, 20));
      });
    }
  });
}
