// Prints a table: the size of this client and of others, and their time to the first event in Chromium.
//
// The event is in the history of a node on the same machine, so the time is that of a connection and of the client.
// The clients take turns, so that the load of the machine meets all of them.

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { launch, openPage, servePages } from '../test/support/pages.js';
import { publish, startNode } from '../test/support/tailwater.js';

const ROUNDS = Number(process.env.ROUNDS ?? 50);

/** For each client: its part of the bundle, and a function `first(url)` that returns a promise of the first event. */
const CLIENTS = {
  '@tailwater/client, EventSource': [`export { EventSource } from './dist/index.js'`, viaEventSource],
  '@tailwater/client, subscribe': [`export { subscribe } from './dist/index.js'`, viaSubscribe],
  '@tailwater/client, both': [`export * from './dist/index.js'`, undefined],
  '@tailwater/client, both and tabs': [
    `export * from './dist/index.js'; export * from './dist/tabs.js'`,
    undefined,
  ],
  eventsource: [`export { EventSource } from 'eventsource'`, viaEventSource],
  '@microsoft/fetch-event-source': [
    `export { fetchEventSource } from '@microsoft/fetch-event-source'`,
    viaFetch,
  ],
  "the browser's own": [`export const EventSource = globalThis.EventSource`, viaEventSource],
};

function viaEventSource({ EventSource }, url) {
  return new Promise((resolve) => {
    const source = new EventSource(url);
    source.onmessage = () => {
      source.close();
      resolve();
    };
  });
}

async function viaSubscribe({ subscribe }, url) {
  for await (const _event of subscribe(url)) break;
}

function viaFetch({ fetchEventSource }, url) {
  return new Promise((resolve) => {
    const controller = new AbortController();
    fetchEventSource(url, {
      signal: controller.signal,
      onmessage({ event }) {
        // It gives control events to the same function.
        if (event.startsWith('tailwater.')) return;
        controller.abort();
        resolve();
      },
    });
  });
}

async function bundle(contents) {
  const options = { bundle: true, minify: true, format: 'esm', target: 'es2022', write: false };
  const { outputFiles } = await build({ ...options, stdin: { contents, resolveDir: process.cwd() } });
  return Buffer.from(outputFiles[0].contents);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const scripts = {};
const rows = [];
for (const [index, [name, [contents, first]]] of Object.entries(CLIENTS).entries()) {
  const code = await bundle(contents);
  scripts[`/client-${index}.js`] = code;
  scripts[`/first-${index}.js`] = Buffer.from(`export const first = ${first}`);
  rows.push({
    name,
    index,
    isTimed: first !== undefined,
    bytes: gzipSync(code, { level: 9 }).length,
    times: [],
  });
}

const pages = await servePages(scripts);
const node = await startNode('serve', '--cors-origin', pages.origin);
await publish(node, 'bench', 'event');
const browser = await launch('Chromium');
try {
  const page = await openPage(browser, pages.origin);
  for (let round = 0; round < ROUNDS; round++) {
    for (const { index, times } of rows.filter(({ isTimed }) => isTimed)) {
      const time = (index, url) =>
        Promise.all([import(`/client-${index}.js`), import(`/first-${index}.js`)]).then(
          async ([client, { first }]) => {
            const begin = performance.now();
            await first(client, url);
            return performance.now() - begin;
          },
        );
      times.push(await page.evaluate(time, index, `${node.url}?topic=bench&from=-1`));
    }
  }
} finally {
  await browser.close();
  await node.kill();
  await pages.close();
}

console.log('| Client | Minified and gzipped, bytes | Time to the first event in Chromium, ms (median) |');
console.log('|---|---|---|');
for (const { name, bytes, times, isTimed } of rows) {
  const own = name === "the browser's own";
  console.log(`| ${name} | ${own ? '–' : bytes} | ${isTimed ? median(times).toFixed(1) : '–'} |`);
}
