// Helpers that read subscriptions.

/** Takes `count` events, and ends the subscription unless it is to go on. */
export async function take(subscription, count) {
  const events = [];
  while (events.length < count) {
    const { done, value } = await subscription.next();
    if (done) break;
    events.push(value);
  }
  return events;
}

/** Waits until a condition holds. The bound stops a test that would wait for ever. */
export async function until(condition, ms = 60_000) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A storage as browsers have it. */
export class MemoryStorage {
  items = new Map();
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, String(value));
  }
  removeItem(key) {
    this.items.delete(key);
  }
}
