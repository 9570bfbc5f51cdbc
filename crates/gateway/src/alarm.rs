//! The one timer of a reader, for its heartbeat and for its end.
//!
//! A delivery postpones the heartbeat without a change to the timer: the timer fires at its old deadline,
//! finds nothing due, and is set again. So a busy reader sets its timer once for each heartbeat interval
//! instead of twice for each delivery.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::connections::{self, Connection};
use crate::drain::Lifetime;
use crate::metrics::Close;

/// Rings when a reader's heartbeat or its end is due.
#[derive(Debug)]
pub(crate) struct Alarm {
    lifetime: Lifetime,
    /// The longest silence, in milliseconds: a random share of the configured time, so that readers written to
    /// together send their heartbeats at different times.
    silence_ms: u32,
    /// Set when a look is due before the next heartbeat.
    looks: bool,
    /// The time of the next heartbeat or look; `None` if it was postponed since the last poll.
    heartbeat: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The deadline at which the timer is known to wake this task. No poll of the timer is needed before.
    quiet_until: Option<Instant>,
    /// The task that the drain was last told to wake.
    task: Option<Waker>,
}

/// The reason of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// The lifetime of the connection is over.
    Over(Close),
    /// Nothing was sent for the longest allowed silence.
    Heartbeat,
    /// The last bytes were sent some time ago, and it is time to see that the client is still there.
    Look,
}

/// A pause between heartbeats from which a vanished client would be noticed too late by heartbeats
/// alone.
const LOOK_FROM: Duration = Duration::from_secs(30);
/// The time from a heartbeat, or from the event that postponed it, to the look.
const LOOK_AFTER: Duration = Duration::from_secs(15);

impl Alarm {
    /// An alarm that rings at the latest after `patience` without a write.
    pub(crate) fn new(lifetime: Lifetime, patience: Duration) -> Self {
        let silence = patience.mul_f64(0.8 + 0.2 * fastrand::f64());
        let timer = Box::pin(sleep_until(lifetime.ends.min(Instant::now() + silence)));
        let silence_ms = silence.as_millis().try_into().unwrap_or(u32::MAX);
        Self {
            lifetime,
            silence_ms,
            looks: false,
            heartbeat: None,
            timer,
            quiet_until: None,
            task: None,
        }
    }

    /// Postpones the heartbeat because something is written. The next poll, which reads the clock, sets the
    /// new time.
    pub(crate) fn put_off(&mut self) {
        self.heartbeat = None;
    }

    /// Polls for the next alarm. Each poll checks for a drain, which finds the task to wake in `place`.
    pub(crate) fn poll(&mut self, place: &Connection, cx: &mut Context<'_>) -> Poll<Ring> {
        // Before the checks: a drain changes the phase first and wakes the tasks then, as a revocation does.
        self.name_task(&place.task, cx.waker());
        if place.is_revoked() {
            return Poll::Ready(Ring::Over(Close::Revoked));
        }
        let now = Instant::now();
        let silence = Duration::from_millis(self.silence_ms.into());
        let pause = if self.looks { LOOK_AFTER } else { silence };
        let heartbeat = *self.heartbeat.get_or_insert(now + pause);
        if self.lifetime.hear() {
            self.set(heartbeat);
        }
        // The clock is in the CPU cache, since all readers use it; the timer of one reader is not.
        if self.quiet_until.is_some_and(|until| now < until) {
            return Poll::Pending;
        }
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                self.quiet_until = Some(self.timer.deadline());
                return Poll::Pending;
            }
            if now >= self.lifetime.ends {
                return Poll::Ready(Ring::Over(self.lifetime.reason));
            }
            if now >= heartbeat {
                if self.looks {
                    self.looks = false;
                    self.heartbeat = Some(heartbeat + silence.saturating_sub(LOOK_AFTER));
                    return Poll::Ready(Ring::Look);
                }
                self.looks = silence > LOOK_FROM;
                return Poll::Ready(Ring::Heartbeat);
            }
            self.set(heartbeat);
        }
    }

    /// Waits until the connection has to be closed although bytes wait for its client.
    pub(crate) async fn overdue(&mut self, place: &Connection) -> Close {
        let mut timer = pin!(sleep_until(self.lifetime.overdue()));
        poll_fn(|cx| {
            self.name_task(&place.task, cx.waker());
            if place.is_revoked() {
                return Poll::Ready(Close::Revoked);
            }
            if self.lifetime.hear() {
                // It rings early and is set again by the next poll.
                self.set(Instant::now());
            }
            let overdue = self.lifetime.overdue();
            if timer.deadline() != overdue {
                timer.as_mut().reset(overdue);
            }
            timer.as_mut().poll(cx).map(|()| self.lifetime.reason)
        })
        .await
    }

    /// Returns the reason if the connection should have ended by now.
    pub(crate) fn over(&self) -> Option<Close> {
        self.lifetime.over()
    }

    /// The end of the connection, as currently planned.
    pub(crate) const fn ends(&self) -> Instant {
        self.lifetime.ends
    }

    fn name_task(&mut self, place: &connections::Task, task: &Waker) {
        // A connection keeps its task, and the write to `place` would cost a cache miss for each delivery.
        if self.task.as_ref().is_none_or(|last| !last.will_wake(task)) {
            place.name(task);
            self.task = Some(task.clone());
            self.quiet_until = None;
        }
    }

    fn set(&mut self, heartbeat: Instant) {
        self.quiet_until = None;
        self.timer.as_mut().reset(heartbeat.min(self.lifetime.ends));
    }
}
