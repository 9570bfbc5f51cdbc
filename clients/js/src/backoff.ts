// The pauses between attempts.

/** Longest pause of the client's own accord, in milliseconds. The server may ask for a longer one. */
const PAUSE_MAX = 60_000;
/** Shortest pause, in milliseconds, whatever the server asks for. */
const PAUSE_MIN = 100;
/** The pauses of clients that lose their streams together differ by up to this part. */
const JITTER = 0.25;

export class Backoff {
  /** The server's last `retry`, in milliseconds. */
  retry: number;
  #failures = 0;

  constructor(retry: number) {
    this.retry = retry;
  }

  /** Notes that an attempt has brought something. */
  succeed(): void {
    this.#failures = 0;
  }

  /** Returns the pause before the next attempt: the server's, doubled for each failure in a row. */
  next(atLeast = 0): number {
    const first = Math.max(this.retry, PAUSE_MIN);
    const doubled = Math.min(first * 2 ** this.#failures++, Math.max(first, PAUSE_MAX));
    return Math.max(doubled, atLeast) * (1 + Math.random() * JITTER);
  }
}
