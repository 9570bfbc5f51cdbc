import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Backoff } from '../../dist/backoff.js';
import { Watchdog } from '../../dist/watchdog.js';

test('the first pause is that of the server, and at most a quarter more', () => {
  for (let n = 0; n < 100; n++) {
    const pause = new Backoff(2000).next();
    assert.ok(pause >= 2000 && pause <= 2500, String(pause));
  }
});

test('pauses double up to a minute, and begin anew after a success', () => {
  const backoff = new Backoff(2000);
  const least = [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
  for (const ms of least) {
    const pause = backoff.next();
    assert.ok(pause >= ms && pause <= ms * 1.25, `${pause} for ${ms}`);
  }
  backoff.succeed();
  assert.ok(backoff.next() <= 2500);
});

test('a server can ask for more than a minute, and Retry-After for more than the backoff', () => {
  assert.ok(new Backoff(120_000).next() >= 120_000);
  assert.ok(new Backoff(2000).next(300_000) >= 300_000);
});

test('no server can make the client hurry', () => {
  assert.ok(new Backoff(0).next() >= 100);
});

test('the watchdog bites once the time is over, unless it is disarmed', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  try {
    let bites = 0;
    const watchdog = new Watchdog(() => bites++);
    watchdog.arm(1000);
    mock.timers.tick(999);
    assert.equal(bites, 0);
    watchdog.arm(1000);
    mock.timers.tick(999);
    assert.equal(bites, 0);
    mock.timers.tick(1);
    assert.equal(bites, 1);
    watchdog.arm(1000);
    watchdog.disarm();
    mock.timers.tick(5000);
    assert.equal(bites, 1);
  } finally {
    mock.timers.reset();
  }
});

test('after a sleep, waiting bytes get a moment before the watchdog bites', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  try {
    let bites = 0;
    const watchdog = new Watchdog(() => bites++);
    watchdog.arm(1000);
    // The machine sleeps: the clock goes on, the timers do not.
    mock.timers.setTime(Date.now() + 3_600_000);
    watchdog.check();
    assert.equal(bites, 0);
    mock.timers.tick(2000);
    assert.equal(bites, 1);
  } finally {
    mock.timers.reset();
  }
});
