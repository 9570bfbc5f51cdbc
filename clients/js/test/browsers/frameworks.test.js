// The components of docs/clients in real browsers, beside a real cluster behind a balancer.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { until } from '../support/collect.js';
import { FRAMEWORK_NAMES, pageScript, renderOnServer } from '../support/frameworks.js';
import { BROWSER_NAMES, launch, servePages } from '../support/pages.js';
import { publish, startCluster } from '../support/tailwater.js';

const scripts = {};
let pages;
let cluster;
let ingest;
let gateways;
let balancer;

before(async () => {
  for (const name of FRAMEWORK_NAMES) scripts[`/${name}.js`] = await pageScript(name);
  pages = await servePages(scripts);
  cluster = await startCluster(pages.origin);
  ({ ingest, gateways, balancer } = cluster);
});

after(async () => {
  await cluster?.close();
  await pages?.close();
});

/** Opens a page with the component's script and this content, and collects what its console says. */
async function openPage(browser, name, content = '') {
  scripts[`/${name}.html`] = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <main>${content}</main><script type="module" src="/${name}.js"></script>`;
  const page = await browser.newPage();
  const said = [];
  page.on('console', (message) => {
    const isOfNetwork = message.location().url?.startsWith(balancer.origin);
    if (['error', 'warn'].includes(message.type()) && !isOfNetwork) said.push(message.text());
  });
  page.on('pageerror', (error) => said.push(String(error)));
  await page.goto(`${pages.origin}/${name}.html`);
  await page.waitForFunction('window.mount');
  return { page, said };
}

/** Starts the component in a page. */
const start = (page, how, props) =>
  page.evaluate(
    (how, props) => {
      window.component = window[how](document.querySelector('main'), props);
    },
    how,
    props,
  );

const showTopics = (page, topics) => page.evaluate((topics) => window.component.show(topics), topics);
const shown = (page) => page.$$eval('p', (all) => all.map(({ textContent }) => textContent));
const isOpen = (page) => page.evaluate(() => document.querySelector('section')?.ariaBusy === 'false');
const of = (topic, count) => Array.from({ length: count }, (_, n) => `${topic} ${n + 1}`);

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

    for (const name of FRAMEWORK_NAMES) {
      const topic = (word) => `${browserName}/${name}/${word}`;

      test(`${name}: a topic that stays loses no event while others come and go under load`, async () => {
        const { page, said } = await openPage(browser, name);
        const [stays, comes] = [topic('stays'), topic('comes')];
        const url = `${balancer.url}?from=earliest`;
        await start(page, 'mount', { url, topics: [stays] });
        await until(() => isOpen(page));
        assert.equal(balancer.streams.size, 1);
        for (let n = 1; n <= 100; n++) {
          await publish(ingest, stays, `stays ${n}`);
          if (n <= 30) await publish(ingest, comes, `comes ${n}`);
          if (n % 20 === 10) await showTopics(page, [stays, comes]);
          if (n % 20 === 0 && n > 40) await showTopics(page, [stays]);
          if (n === 70) await gateways[0].kill();
        }
        await gateways[0].start();
        await until(async () => (await shown(page)).length >= 130);
        const events = await shown(page);
        assert.deepEqual(
          events.filter((text) => text.startsWith('stays')),
          of('stays', 100),
        );
        assert.deepEqual(
          events.filter((text) => text.startsWith('comes')),
          of('comes', 30),
        );
        assert.deepEqual(said, []);
        await page.evaluate(() => window.component.unmount());
        await until(() => balancer.streams.size === 0);
      });

      test(`${name}: a page that a server has rendered goes on in the browser`, async () => {
        const props = { url: `${balancer.url}?topic=${topic('server')}&from=earliest` };
        const html = await renderOnServer(name, props);
        assert.match(html, /<section aria-busy="true">/);
        assert.equal(balancer.streams.size, 0);
        const { page, said } = await openPage(browser, name, html);
        await start(page, 'hydrate', props);
        await publish(ingest, topic('server'), 'hello', { end: 'true' });
        await until(async () => (await shown(page)).length === 1);
        assert.equal((await page.$$('section')).length, 1);
        assert.deepEqual(said, []);
      });
    }
  });
}
