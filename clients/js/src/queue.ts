// A queue with a bound and one reader.

export class Queue<T> {
  readonly #max: number;
  #items: T[] = [];
  #wake: () => void = () => {};

  constructor(max: number) {
    this.#max = max;
  }

  /** Appends an item. A full queue loses all that wait. */
  push(item: T): void {
    if (this.#items.length >= this.#max) this.#items = [];
    this.#items.push(item);
    this.#wake();
  }

  /** Takes the oldest item, or waits for one. */
  async take(): Promise<T> {
    while (this.#items.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#items.shift() as T;
  }
}
