// The competition of tabs for the lead: a web lock that one of them holds.

/** The pause before a tab that has lost the lead competes again, in milliseconds. */
const PAUSE = 1000;

export class Candidate {
  readonly #name: string;
  readonly #lead: () => Promise<void>;
  readonly #stop: () => void;
  /** The request that this tab has made, unless it is out of the competition. */
  #request: AbortController | undefined;

  /** `lead` leads until `stop` is called. */
  constructor(name: string, lead: () => Promise<void>, stop: () => void) {
    this.#name = name;
    this.#lead = lead;
    this.#stop = stop;
  }

  /** Queues up for the lead. */
  enter(): void {
    if (!this.#request) void this.#compete({});
  }

  /** Takes the lead from a tab that does not answer. */
  steal(): void {
    this.leave();
    void this.#compete({ steal: true });
  }

  /** Leaves the queue, or gives up the lead. */
  leave(): void {
    this.#request?.abort();
    this.#request = undefined;
    this.#stop();
  }

  async #compete(options: LockOptions): Promise<void> {
    const request = new AbortController();
    this.#request = request;
    if (!options.steal) options.signal = request.signal;
    try {
      await navigator.locks.request(this.#name, options, async () => {
        if (!request.signal.aborted) await this.#lead();
      });
    } catch {
      // Another tab has stolen the lead, or this one has left the queue.
    }
    if (this.#request !== request) return;
    this.#stop();
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    if (this.#request === request) void this.#compete({});
  }
}
