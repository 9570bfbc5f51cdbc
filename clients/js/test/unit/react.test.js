// The hook of React, beside a server that sends raw bytes.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Activity, Component, createElement, StrictMode, useState } from 'react';
import { renderToString } from 'react-dom/server';
import { useSubscription } from '../../dist/react.js';
import { MemoryStorage, sleep, until } from '../support/collect.js';
import { startFakeGateway } from '../support/fake-gateway.js';

// Otherwise the renderer of tests says on each start that it is not for new projects.
globalThis.IS_REACT_NATIVE_TEST_ENVIRONMENT = true;
const { create } = (await import('react-test-renderer')).default;

const open = [];
let heard;
let shown;

beforeEach(() => {
  heard = [];
  shown = [];
});

afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** Starts a fake gateway whose n-th answer is given by the n-th function, and all later ones by the last. */
async function fake(...answers) {
  const gateway = await startFakeGateway((request, connection, index) =>
    answers[Math.min(index, answers.length - 1)](connection, request),
  );
  open.push(() => gateway.close());
  return gateway;
}

/** Renders the status, and notes the data of each event. */
function Reader({ url, ...options }) {
  const onEvent = ({ data }) => heard.push(data);
  const { status, error } = useSubscription(url, { topics: ['demo'], retry: 100, onEvent, ...options });
  const text = error ? `${status}: ${error.code}` : status;
  if (shown.at(-1) !== text) shown.push(text);
  return text;
}

/** Renders the number of events. */
function Counter({ url }) {
  const [count, setCount] = useState(0);
  useSubscription(url, { topics: ['demo'], onEvent: () => setCount((count) => count + 1) });
  return String(count);
}

class Boundary extends Component {
  state = { error: undefined };
  static getDerivedStateFromError = (error) => ({ error });
  render() {
    return this.state.error?.message ?? this.props.children;
  }
}

const reader = (gateway, options) => createElement(Reader, { url: gateway.url, ...options });

function render(element) {
  const root = create(element, { unstable_isConcurrent: true });
  open.push(() => root.unmount());
  return root;
}

const shows = (root, text) => until(() => root.toJSON() === text);
const hears = (...data) => until(() => heard.length >= data.length).then(() => assert.deepEqual(heard, data));

test('a component is told each event, and shows the state of the stream', async () => {
  let first;
  const gateway = await fake(
    (c) => {
      first = c.stream().ready().event(1).event(2);
    },
    (c) => c.stream().ready({ cursor: '2-2', outcome: 'exact' }).event(3),
  );
  const root = render(reader(gateway));
  await shows(root, 'open');
  first.end();
  await hears('event 1', 'event 2', 'event 3');
  await shows(root, 'open');
  assert.deepEqual(shown, ['connecting', 'open', 'lost: ended', 'open']);
});

test('a component that is unmounted closes its stream', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const root = render(reader(gateway));
  await hears('event 1');
  root.unmount();
  await until(() => gateway.open === 0);
  await sleep(300);
  assert.equal(gateway.requests.length, 1);
});

test('the strict mode, which mounts twice, makes one request and hears each event once', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1).event(2));
  let tokens = 0;
  const token = () => `token ${++tokens}`;
  render(createElement(StrictMode, null, reader(gateway, { token })));
  await hears('event 1', 'event 2');
  await sleep(100);
  assert.deepEqual(heard, ['event 1', 'event 2']);
  assert.equal(gateway.requests.length, 1);
  assert.equal(tokens, 1);
});

test('a change of topics goes on from the cursor, on the next stream', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().event(1),
    (c) =>
      c
        .stream()
        .ready({ cursor: '1-1', outcome: 'exact', new: ['other'] })
        .event(2)
        .event(3, 'other'),
  );
  const root = render(reader(gateway));
  await hears('event 1');
  root.update(reader(gateway, { topics: ['other', 'demo'] }));
  await hears('event 1', 'event 2', 'event 3');
  const { query } = gateway.requests[1];
  assert.deepEqual(query.getAll('topic'), ['demo', 'other']);
  assert.equal(query.get('last_event_id'), 'demo@1-1');
});

test('a topic of the URL stays when the topics change', async () => {
  const gateway = await fake((c, { query }) => {
    c.stream().ready();
    if (query.getAll('topic').includes('b')) c.event(2, 'b');
    else c.event(1, 'a');
  });
  const url = `${gateway.url}?topic=fixed`;
  const root = render(reader(gateway, { url, topics: ['a'] }));
  await hears('event 1');
  root.update(reader(gateway, { url, topics: ['b'] }));
  await hears('event 1', 'event 2');
  assert.deepEqual(gateway.requests[1].query.getAll('topic'), ['b', 'fixed']);
});

test('a rendering with the same topics and other functions keeps the stream, and calls the new functions', async () => {
  let connection;
  const gateway = await fake((c) => {
    connection = c.stream().ready().event(1);
  });
  const root = render(reader(gateway));
  await hears('event 1');
  const later = [];
  root.update(reader(gateway, { topics: ['demo'], onEvent: ({ data }) => later.push(data) }));
  await sleep(50);
  connection.event(2);
  await until(() => later.length === 1);
  assert.deepEqual(heard, ['event 1']);
  assert.equal(gateway.requests.length, 1);
});

test('an empty list of topics closes the stream, and a later one goes on with it', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().event(1),
    (c) => c.stream().ready({ cursor: '1-1', outcome: 'exact' }).event(2),
  );
  const root = render(reader(gateway));
  await hears('event 1');
  root.update(reader(gateway, { topics: [] }));
  await until(() => gateway.open === 0);
  await shows(root, 'connecting');
  root.update(reader(gateway));
  await hears('event 1', 'event 2');
  assert.equal(gateway.requests[1].headers['last-event-id'], '1-1');
});

test('a component that is hidden and shown goes on from its cursor, also for other topics', async () => {
  const gateway = await fake(
    (c) => c.stream().ready().event(1),
    (c) => c.stream().ready({ cursor: '1-1', outcome: 'exact' }).event(2),
  );
  const page = (mode, topics) => createElement(Activity, { mode }, reader(gateway, { topics }));
  const root = render(page('visible', ['demo']));
  await hears('event 1');
  root.update(page('hidden', ['demo']));
  await until(() => gateway.open === 0);
  root.update(page('visible', ['demo', 'other']));
  await hears('event 1', 'event 2');
  assert.equal(gateway.requests[1].query.get('last_event_id'), 'demo@1-1');
});

test('another URL begins anew', async () => {
  const [first, second] = [
    await fake((c) => c.stream().ready().event(1)),
    await fake((c) => c.stream().ready()),
  ];
  const root = render(reader(first));
  await hears('event 1');
  root.update(reader(second));
  await until(() => second.requests.length === 1);
  assert.equal(second.requests[0].headers['last-event-id'], undefined);
  await until(() => first.open === 0);
});

test('a storage keeps the cursor for the next page', async () => {
  const gateway = await fake((c) => c.stream().ready().event(1));
  const persist = new MemoryStorage();
  const root = render(reader(gateway, { persist }));
  await hears('event 1');
  root.unmount();
  render(reader(gateway, { persist }));
  await until(() => gateway.requests.length === 2);
  assert.equal(gateway.requests[1].headers['last-event-id'], '1-1');
});

test('the callbacks of a subscription are called', async () => {
  const lost = {
    topic: 'demo',
    reason: 'trimmed',
    missed: 3,
    requested: '1-1',
    oldest: '5-5',
    newest: '5-5',
  };
  const gateway = await fake((c) =>
    c
      .stream()
      .ready({ outcome: 'gap' })
      .control('gap', lost)
      .control('gap', { ...lost, reason: 'reset' })
      .event(6)
      .control('end', { topic: 'demo' })
      .end(),
  );
  const told = [];
  const note = (word) => () => told.push(word);
  const root = render(
    reader(gateway, { onOpen: note('open'), onGap: note('gap'), onReset: note('reset'), onEnd: note('end') }),
  );
  await shows(root, 'ended');
  assert.deepEqual(told, ['open', 'gap', 'reset', 'end']);
});

test('a final error is shown', async () => {
  const gateway = await fake((c) => c.refuse(403, 'forbidden'));
  const root = render(reader(gateway));
  await shows(root, 'failed: forbidden');
});

test('an error of the application ends the subscription, and reaches the error boundary', async (t) => {
  const said = t.mock.method(console, 'error', () => {});
  const gateway = await fake((c) => c.stream().ready().event(1).event(2));
  const onEvent = () => {
    throw new Error('a fault of the page');
  };
  const root = render(createElement(Boundary, null, reader(gateway, { onEvent })));
  await shows(root, 'a fault of the page');
  assert.equal(said.mock.callCount(), 1);
  await until(() => gateway.open === 0);
});

test('a component that counts shows each event once under a rendering for each', async () => {
  const gateway = await fake((c) => {
    c.stream().ready();
    for (let n = 1; n <= 500; n++) c.event(n);
  });
  const root = render(createElement(StrictMode, null, createElement(Counter, { url: gateway.url })));
  await shows(root, '500');
  await sleep(100);
  assert.equal(root.toJSON(), '500');
});

test('a server renders the component without a request', async () => {
  const gateway = await fake((c) => c.stream().ready());
  assert.equal(renderToString(reader(gateway)), 'connecting');
  await sleep(100);
  assert.equal(gateway.requests.length, 0);
});
