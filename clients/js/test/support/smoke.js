// Reads numbers up to the end of a topic, in each way, and prints them. It runs in any runtime:
// `smoke.js URL TOPIC`. Each reader is told by a line on standard output that it is open.

import { EventSource, subscribe } from '../../dist/index.js';

const [url, topic] = (globalThis.Deno?.args ?? globalThis.process.argv.slice(2)).slice(0, 2);
const heard = { stream: [], longPoll: [], eventSource: [] };
const isOpen = (name) => () => console.log(`open ${name}`);

async function read(name, options) {
  const subscription = subscribe(url, { topics: [topic], onOpen: isOpen(name), ...options });
  for await (const { data } of subscription) heard[name].push(Number(data));
}

function listen() {
  return new Promise((resolve) => {
    const source = new EventSource(`${url}?topic=${topic}`);
    source.onopen = isOpen('eventSource');
    source.onmessage = ({ data }) => heard.eventSource.push(Number(data));
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve();
  });
}

await Promise.all([read('stream', {}), read('longPoll', { transport: 'long-poll' }), listen()]);
console.log(JSON.stringify(heard));
