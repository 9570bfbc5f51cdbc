// A server that sends raw bytes: the test decides each of them.

import { createServer } from 'node:net';

/**
 * Starts a server on loopback. `answer(request, connection, index)` answers each request, whose `index` counts from 0.
 * Each connection serves one request.
 */
export async function startFakeGateway(answer) {
  const requests = [];
  const sockets = new Set();
  const serving = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      serving.delete(socket);
    });
    socket.on('error', () => {});
    let text = '';
    const onData = (chunk) => {
      text += chunk;
      const request = parseRequest(text);
      if (!request) return;
      socket.off('data', onData);
      // Reads on, so that the socket notices that the client closes it.
      socket.resume();
      requests.push(request);
      serving.add(socket);
      answer(request, new Connection(socket), requests.length - 1);
    };
    socket.setEncoding('utf8').on('data', onData);
  });
  const port = await listen(server, 0);
  return {
    port,
    requests,
    url: `http://127.0.0.1:${port}/v1/events`,
    /** The connections that are open and have brought a request: Node's fetch may open others. */
    get open() {
      return serving.size;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
    /** Listens again, after `close`. */
    restart: () => listen(server, port),
  };
}

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server.address().port));
  });
}

function parseRequest(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [line, ...fields] = text.slice(0, end).split('\r\n');
  const [method, target] = line.split(' ');
  const headers = Object.fromEntries(
    fields.map((field) => [
      field.slice(0, field.indexOf(':')).toLowerCase(),
      field.slice(field.indexOf(':') + 1).trim(),
    ]),
  );
  const body = text.slice(end + 4);
  if (body.length < Number(headers['content-length'] ?? 0)) return undefined;
  const url = new URL(target, 'http://gateway');
  return { method, path: url.pathname, query: url.searchParams, headers, body };
}

/** The connection of one request. */
class Connection {
  constructor(socket) {
    this.socket = socket;
  }

  /** Sends these bytes, as they are. */
  raw(bytes) {
    this.socket.write(bytes);
    return this;
  }

  /** Sends the head of an event stream, and the heartbeat with which each begins. */
  stream(type = 'text/event-stream') {
    return this.raw(
      `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n`,
    ).chunk(':\n');
  }

  /** Sends a chunk of the body. */
  chunk(text) {
    const bytes = Buffer.from(text);
    if (bytes.length > 0) this.socket.write(`${bytes.length.toString(16)}\r\n`);
    if (bytes.length > 0) this.socket.write(Buffer.concat([bytes, Buffer.from('\r\n')]));
    return this;
  }

  ready(ready = {}, retry = 100) {
    const { cursor = '0-0', outcome = 'live', ...more } = ready;
    const data = JSON.stringify({ cursor, outcome, node: 'fake', ...more });
    return this.chunk(`event: tailwater.ready\ndata: ${data}\nretry: ${retry}\nid: ${cursor}\n\n`);
  }

  /** Sends an event in an envelope. */
  event(n, topic = 'demo', type = null) {
    return this.chunk(eventOf(n, topic, type));
  }

  control(word, data, more = '') {
    return this.chunk(`event: tailwater.${word}\ndata: ${JSON.stringify(data)}\n${more}\n`);
  }

  /** Ends the body as HTTP does. */
  end() {
    this.socket.end('0\r\n\r\n');
  }

  /** Breaks the connection off. */
  cut() {
    this.socket.resetAndDestroy();
  }

  /** Sends a whole answer. */
  whole(status, body = '', headers = {}) {
    const fields = { 'content-length': Buffer.byteLength(body), connection: 'close', ...headers };
    const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.end(`HTTP/1.1 ${status} Status\r\n${head.join('')}\r\n${body}`);
  }

  json(content, status = 200, headers = {}) {
    this.whole(status, JSON.stringify(content), { 'content-type': 'application/json', ...headers });
  }

  refuse(status, code, headers = {}) {
    this.json({ error: { code, message: `refused: ${code}` } }, status, headers);
  }
}

/** The text of an event in an envelope: its position is `<n>-<n>`, and so is its cursor. */
export function eventOf(n, topic = 'demo', type = null) {
  const envelope = { id: `${n}-${n}`, topic, type, data: `event ${n}`, time: '2026-01-31T12:00:00.000Z' };
  return `data: ${JSON.stringify(envelope)}\nid: ${n}-${n}\n\n`;
}
