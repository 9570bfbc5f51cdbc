// Pages in real browsers, which import the client as it is built.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import puppeteer from 'puppeteer-core';

const BROWSERS = {
  Chromium: {
    browser: 'chrome',
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  },
  Firefox: { browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr' },
};

export const BROWSER_NAMES = Object.keys(BROWSERS);

export function launch(name) {
  return puppeteer.launch({ ...BROWSERS[name], headless: true });
}

/** Serves an empty page that has the client as `window.client`, and these scripts, on an origin of its own. */
export async function servePages(scripts = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://page');
    if (pathname === '/') {
      response.setHeader('content-type', 'text/html');
      response.end(
        `<!doctype html><link rel="icon" href="data:,"><script type="module">
          import * as client from '/dist/index.js';
          import { tabs } from '/dist/tabs.js';
          Object.assign(window, { client, tabs, heard: [], errors: [] });
        </script>`,
      );
      return;
    }
    try {
      const code = scripts[pathname] ?? (await readFile(new URL(`../..${pathname}`, import.meta.url)));
      response.setHeader('content-type', pathname.endsWith('.html') ? 'text/html' : 'text/javascript');
      response.end(code);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** Opens a page that has loaded the client. */
export async function openPage(browser, origin) {
  const page = await browser.newPage();
  await page.goto(origin);
  await page.waitForFunction('window.client');
  return page;
}

/** Subscribes in a page: its events are in `window.heard`, its errors in `window.errors`. */
export function subscribeIn(page, url, options = {}) {
  return page.evaluate(
    (url, { persists, shares, ...options }) => {
      const persist = persists ? sessionStorage : undefined;
      const shared = shares ? window.tabs() : undefined;
      const onError = ({ code }) => window.errors.push(code);
      const onGap = () => window.errors.push('gap');
      const onOpen = () => {
        window.isOpen = true;
      };
      const subscription = window.client.subscribe(url, {
        ...options,
        persist,
        shared,
        onError,
        onGap,
        onOpen,
      });
      window.subscription = subscription;
      (async () => {
        for await (const { data } of subscription) window.heard.push(Number(data));
        window.heard.push('end');
      })();
    },
    url,
    options,
  );
}

/** Reads with an EventSource of the client in a page. */
export function listenIn(page, url) {
  return page.evaluate((url) => {
    const source = new window.client.EventSource(url);
    source.onopen = () => {
      window.isOpen = true;
    };
    source.onmessage = ({ data }) => window.heard.push(Number(data));
  }, url);
}

export const heardIn = (page) => page.evaluate(() => window.heard);
export const isOpenIn = (page) => page.evaluate(() => window.isOpen === true);
