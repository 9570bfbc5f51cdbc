// Real processes: tailwater, Redis, and a balancer that forwards connections to the gateways that are there.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const TAILWATER =
  process.env.TAILWATER ?? fileURLToPath(new URL('../../../../target/debug/tailwater', import.meta.url));

/** Starts `tailwater`, which listens on ports of its own that it keeps when it is started again. */
export async function startNode(role, ...flags) {
  const node = new TailwaterNode(role, flags);
  await node.start();
  return node;
}

/** Starts Redis, an ingest, two gateways that pages of this origin may use, and a balancer in front of them. */
export async function startCluster(origin, ...gatewayFlags) {
  const redis = await startRedis();
  const ingest = await startNode('ingest', '--redis', redis.url);
  const start = () =>
    startNode('gateway', '--redis', redis.url, '--cors-origin', origin, '--retry', '500ms', ...gatewayFlags);
  const gateways = [await start(), await start()];
  const balancer = await startBalancer(gateways);
  const close = async () => {
    await balancer.close();
    for (const node of [...gateways, ingest]) await node.kill();
    await redis.stop();
  };
  return { ingest, gateways, balancer, close };
}

class TailwaterNode {
  port = 0;
  adminPort = 0;
  #role;
  #flags;
  #child;

  constructor(role, flags) {
    this.#role = role;
    this.#flags = flags;
  }

  async start() {
    const listen = ['--listen', `127.0.0.1:${this.port}`, '--admin-listen', `127.0.0.1:${this.adminPort}`];
    const child = spawn(TAILWATER, [this.#role, ...listen, ...this.#flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const { listening, admin } = await new Promise((resolve, reject) => {
      let log = '';
      const read = (chunk) => {
        log += chunk;
        const found = /serving .*listen="[^"]*:(\d+)" admin="[^"]*:(\d+)"/.exec(log);
        if (found) resolve({ listening: Number(found[1]), admin: Number(found[2]) });
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`tailwater ${this.#role} exited with ${code}:\n${log}`)));
    });
    this.port = listening;
    this.adminPort = admin;
    for (;;) {
      const { status } = await fetch(`http://127.0.0.1:${admin}/readyz`);
      if (status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  get url() {
    return `${this.origin}/v1/events`;
  }

  /** Stops the process: its connections stay open and silent. */
  freeze() {
    this.#child.kill('SIGSTOP');
  }

  /** Ends the process without a word. */
  async kill(signal = 'SIGKILL') {
    const exited = once(this.#child, 'exit');
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill(signal);
      await exited;
    }
  }
}

/** Publishes an event, and tries again until it is stored. */
export async function publish(node, topic, data, parameters = {}, headers = {}) {
  const query = new URLSearchParams({ topic, ...parameters });
  const response = await fetch(`${node.url}?${query}`, { method: 'POST', body: data, headers });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return response.json();
}

export async function startRedis() {
  const folder = mkdtempSync(join(tmpdir(), 'tailwater-js-'));
  const port = await freePort();
  const flags = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  const child = spawn('redis-server', flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`redis-server exited with ${code}`)));
    child.stdout.on('data', (chunk) => String(chunk).includes('Ready to accept connections') && resolve());
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const UNAVAILABLE = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

/**
 * Forwards each connection to the first node that takes it. Counts the event streams that are open. Without a node it
 * drops the connection, or answers 503 if `answers` is true.
 */
export async function startBalancer(nodes) {
  const open = new Set();
  const streams = new Set();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => {
      open.delete(socket);
      streams.delete(socket);
    });
    socket.on('error', () => {});
    const forward = ([node, ...others]) => {
      if (!node && balancer.answers) return socket.once('data', () => socket.end(UNAVAILABLE));
      if (!node) return socket.destroy();
      const upstream = connect(node.port, '127.0.0.1');
      upstream.once('error', () => forward(others));
      upstream.once('connect', () => {
        upstream.removeAllListeners('error');
        upstream.on('error', () => socket.destroy());
        upstream.on('close', () => socket.destroy());
        socket.on('close', () => upstream.destroy());
        // Other connections stay open for a while after an answer.
        upstream.on(
          'data',
          (bytes) => /^content-type: text\/event-stream/im.test(bytes) && streams.add(socket),
        );
        socket.pipe(upstream).pipe(socket);
      });
    };
    forward(nodes);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const balancer = {
    port,
    origin: `http://127.0.0.1:${port}`,
    url: `http://127.0.0.1:${port}/v1/events`,
    streams,
    answers: false,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return balancer;
}
