// A cursor that outlives the page.

import type { Cursor, Place } from './cursor.js';

/** `sessionStorage`, `localStorage`, or an object of the same form. */
export type Storage = Pick<globalThis.Storage, 'getItem' | 'setItem' | 'removeItem'>;

/** Returns the cursor that was kept, if there is one. */
export function load(storage: Storage | undefined, key: string): Place | undefined {
  try {
    return JSON.parse(storage?.getItem(key) ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

export function save(storage: Storage, key: string, cursor: Cursor): void {
  try {
    storage.setItem(key, JSON.stringify(cursor));
  } catch {
    // The storage is full. An old cursor would show events twice, so there is none.
    storage.removeItem(key);
  }
}
