// A time-out for one read, which also holds after the machine has slept.

/** A timer that is late by more than this, in milliseconds, shows that the page slept. */
const LATE = 1000;
/** Then bytes may be waiting to be read; this is the time for it, in milliseconds. */
const GRACE = 2000;

export class Watchdog {
  readonly #bite: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadline = 0;

  constructor(bite: () => void) {
    this.#bite = bite;
  }

  /** Waits for one read; any earlier wait is over. */
  arm(ms: number): void {
    this.#deadline = Date.now() + ms;
    this.#setTimer(ms);
  }

  disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Compares the clock with the deadline, because timers stand still while the machine sleeps. */
  check(): void {
    if (this.#timer === undefined) return;
    const late = Date.now() - this.#deadline;
    if (late < 0) {
      this.#setTimer(-late);
    } else if (late > LATE) {
      this.arm(GRACE);
    } else {
      this.disarm();
      this.#bite();
    }
  }

  #setTimer(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), ms);
  }
}
