// The parts of a browser that tabs need, for tests in one process: web locks, and a channel that can be disturbed.

/** Web locks of one origin: exclusive, with a queue, signals and `steal`. */
export class FakeLocks {
  #holders = new Map();
  #queues = new Map();

  request(name, options, callback) {
    return new Promise((resolve, reject) => {
      const request = { callback, resolve, reject };
      if (options.steal) {
        this.#holders.get(name)?.reject(new DOMException('stolen', 'AbortError'));
        this.#hold(name, request);
        return;
      }
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      options.signal?.addEventListener('abort', () => {
        const index = queue.indexOf(request);
        if (index < 0) return;
        queue.splice(index, 1);
        reject(new DOMException('aborted', 'AbortError'));
      });
      queue.push(request);
      queueMicrotask(() => this.#grant(name));
    });
  }

  /** Lets the next take a lock, as when the page of its holder goes away without a word. */
  drop(name) {
    this.#holders.delete(name);
    this.#grant(name);
  }

  get names() {
    return [...this.#holders.keys()];
  }

  #grant(name) {
    if (this.#holders.has(name)) return;
    const request = this.#queues.get(name)?.shift();
    if (request) this.#hold(name, request);
  }

  #hold(name, request) {
    this.#holders.set(name, request);
    Promise.resolve(request.callback({ name }))
      .then(request.resolve, request.reject)
      .finally(() => {
        if (this.#holders.get(name) !== request) return;
        this.#holders.delete(name);
        this.#grant(name);
      });
  }
}

/** Channels between tabs. A tab that is frozen hears nothing; a message may also be lost. */
export class FakeChannels {
  #channels = new Set();
  /** Returns true if a message is lost on its way to a tab. */
  loses = () => false;

  /** The class `BroadcastChannel` as one tab sees it. */
  get BroadcastChannel() {
    const channels = this;
    return class {
      onmessage = null;
      constructor(name) {
        this.name = name;
        channels.#channels.add(this);
      }
      postMessage(data) {
        for (const other of channels.#channels) {
          if (other === this || other.name !== this.name || channels.loses(data)) continue;
          const copy = structuredClone(data);
          setImmediate(() => channels.#channels.has(other) && other.onmessage?.({ data: copy }));
        }
      }
      close() {
        channels.#channels.delete(this);
      }
    };
  }
}
