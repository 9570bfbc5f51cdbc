// A model of a cluster: logs in memory, and gateways that serve them by the protocol, with faults.

/** Random numbers that a seed determines (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Topics, each with events whose positions are `<ms>-<n>`. */
export class Log {
  #topics = new Map();
  #waiting = new Set();
  #ms = 1000;

  topic(name) {
    if (!this.#topics.has(name)) this.#topics.set(name, { events: [], oldest: 1, isEnded: false });
    return this.#topics.get(name);
  }

  append(name, data, type = null) {
    const { events } = this.topic(name);
    const id = `${this.#ms++}-${events.length + 1}`;
    events.push({ id, topic: name, type, data, time: '2026-01-31T12:00:00.000Z' });
    this.#wake();
    return id;
  }

  /** Drops all events before number `oldest`. */
  trim(name, oldest) {
    this.topic(name).oldest = oldest;
  }

  end(name) {
    this.topic(name).isEnded = true;
    this.#wake();
  }

  /** Waits for a change, or for `ms`. */
  async change(ms, signal) {
    await new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
      signal?.addEventListener('abort', done);
    });
  }

  #wake() {
    for (const done of [...this.#waiting]) done();
  }
}

const number = (position) => Number(position.split('-')[1]);

/** The cursor of one topic is its position. That of several names them all. */
function encodeCursor(topics, positions) {
  if (topics.length === 1) return positions[topics[0]];
  return `v1.${Buffer.from(JSON.stringify(positions)).toString('base64url')}`;
}

/** The positions of a request: of its cursors, and of `from` for the topics that no cursor knows. */
function decodeCursor(log, topics, request) {
  const header = request.headers['last-event-id'];
  const positions = {};
  if (header?.startsWith('v1.')) {
    Object.assign(positions, JSON.parse(Buffer.from(header.slice(3), 'base64url').toString()));
  } else if (header) {
    if (topics.length !== 1) throw new Error(`a cursor of one topic for ${topics}`);
    positions[topics[0]] = header;
  }
  for (const named of request.query.getAll('last_event_id')) {
    const at = named.lastIndexOf('@');
    positions[named.slice(0, at)] = named.slice(at + 1);
  }
  const isKnown = topics.some((topic) => positions[topic]);
  const start = {};
  for (const topic of topics) {
    const { events } = log.topic(topic);
    const from = request.query.get('from') ?? 'latest';
    const skipped =
      from === 'latest'
        ? events.length
        : from === 'earliest'
          ? 0
          : Math.max(0, events.length - Number(from.slice(1)));
    start[topic] = positions[topic] ?? (skipped === 0 ? '0-0' : events[skipped - 1].id);
  }
  return { positions: start, outcome: isKnown ? 'exact' : 'live' };
}

/**
 * Returns the function that answers a gateway's requests. `limit(index)` returns the number of bytes after which
 * the connection of a request is cut, or undefined.
 */
export function serve(
  log,
  { heartbeat = 15, retry = 100, limit = () => undefined, order = (topics) => topics } = {},
) {
  return async (request, connection, index) => {
    const topics = [...new Set(request.query.getAll('topic'))].sort();
    const { positions, outcome } = decodeCursor(log, topics, request);
    const isStream = request.headers.accept === 'text/event-stream';
    const gone = new AbortController();
    connection.socket.on('close', () => gone.abort());
    const ended = new Set();

    const next = () => {
      for (const topic of order(topics)) {
        const { events, oldest } = log.topic(topic);
        const n = number(positions[topic]) + 1;
        if (n < oldest) {
          positions[topic] = `${events[oldest - 1]?.id.split('-')[0] ?? 1}-${oldest - 1}`;
          const gap = { topic, reason: 'trimmed', missed: oldest - n, requested: null };
          return {
            gap: { ...gap, oldest: events[oldest - 1]?.id ?? null, newest: events.at(-1)?.id ?? '0-0' },
          };
        }
        const event = events[n - 1];
        if (event) {
          positions[topic] = event.id;
          return { event };
        }
      }
      const over = topics.find((topic) => log.topic(topic).isEnded && !ended.has(topic));
      if (over === undefined) return undefined;
      ended.add(over);
      return { end: over };
    };

    const isOver = () =>
      topics.every((topic) => {
        const { events, isEnded } = log.topic(topic);
        return isEnded && number(positions[topic]) === events.length;
      });
    if (outcome === 'exact' && isOver()) return connection.whole(204);

    if (!isStream) {
      const answer = { events: [], gaps: [] };
      const until = Date.now() + Number(request.query.get('wait')) * 1000;
      for (;;) {
        while (answer.events.length < 100) {
          const step = next();
          if (!step) break;
          if (step.event) answer.events.push(step.event);
          if (step.gap) answer.gaps.push(step.gap);
        }
        if (answer.events.length > 0 || answer.gaps.length > 0 || isOver() || Date.now() >= until) break;
        await log.change(until - Date.now(), gone.signal);
        if (gone.signal.aborted) return;
      }
      return connection.json({ ...answer, cursor: encodeCursor(topics, positions), ended: isOver() });
    }

    const isEnveloped = request.query.get('envelope') === 'json';
    let left = limit(index) ?? Number.POSITIVE_INFINITY;
    const send = (text) => {
      const bytes = Buffer.from(text);
      connection.chunk(bytes.subarray(0, left));
      left -= bytes.length;
      if (left <= 0) setImmediate(() => connection.cut());
      return left > 0;
    };
    connection.stream();
    const cursor = () => encodeCursor(topics, positions);
    const ready = JSON.stringify({ cursor: cursor(), outcome, node: 'model', heartbeat });
    if (!send(`event: tailwater.ready\ndata: ${ready}\nretry: ${retry}\nid: ${cursor()}\n\n`)) return;
    for (;;) {
      const step = next();
      if (gone.signal.aborted) return;
      if (!step) {
        if (ended.size === topics.length) return connection.end();
        await log.change(heartbeat * 1000, gone.signal);
        if (gone.signal.aborted || !send(':\n')) return;
      } else if (step.end) {
        if (!send(`event: tailwater.end\ndata: ${JSON.stringify({ topic: step.end })}\nid: ${cursor()}\n\n`))
          return;
      } else if (step.gap) {
        if (!send(`event: tailwater.gap\ndata: ${JSON.stringify(step.gap)}\nid: ${cursor()}\n\n`)) return;
      } else if (isEnveloped) {
        if (!send(`data: ${JSON.stringify(step.event)}\nid: ${cursor()}\n\n`)) return;
      } else {
        const type = step.event.type ? `event: ${step.event.type}\n` : '';
        if (!send(`${type}data: ${step.event.data}\nid: ${cursor()}\n\n`)) return;
      }
    }
  };
}
