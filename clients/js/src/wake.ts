// The moments at which a page falls asleep, and those at which it may have slept or changed its network.

/** Calls the functions at these moments, until the returned function is called. Does nothing outside browsers. */
export function onPage(sleep: () => void, wake: (isOnline: boolean) => void): () => void {
  const { document } = globalThis;
  const up = () => document?.visibilityState !== 'hidden' && wake(false);
  const list: [target: EventTarget | undefined, type: string, listener: () => void][] = [
    [document, 'freeze', sleep],
    [globalThis, 'pagehide', sleep],
    [document, 'resume', up],
    [globalThis, 'pageshow', up],
    [document, 'visibilitychange', up],
    [globalThis, 'online', () => wake(true)],
  ];
  for (const [target, type, listener] of list) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of list) target?.removeEventListener?.(type, listener);
  };
}
