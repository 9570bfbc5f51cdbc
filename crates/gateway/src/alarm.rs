//! The one timer of a reader, for its heartbeat and for its end.
//!
//! A delivery puts the heartbeat off, and touches no timer for it: the timer rings when it was once
//! set for, finds nothing due, and is set anew. So a busy reader costs a timer once in a heartbeat,
//! not twice a delivery.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::connections;
use crate::drain::Lifetime;
use crate::metrics::Close;

/// Rings when a reader's heartbeat or its end is due.
#[derive(Debug)]
pub(crate) struct Alarm {
    lifetime: Lifetime,
    /// The longest silence that there may be: somewhat less than was asked for, so that the heartbeats
    /// of readers that were written to together are spread.
    silence: Duration,
    /// When it is due; `None` if it was put off since this was last polled.
    heartbeat: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// Until when the timer is known to wake this task, so that nobody need look at it.
    quiet_until: Option<Instant>,
    /// The task that was last named to those who hand connections away.
    task: Option<Waker>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// The connection is over.
    Over(Close),
    /// There was silence for as long as there may be.
    Heartbeat,
}

impl Alarm {
    /// Rings when there was no more than `patience` of silence.
    pub(crate) fn new(lifetime: Lifetime, patience: Duration) -> Self {
        let silence = patience.mul_f64(0.8 + 0.2 * fastrand::f64());
        let timer = Box::pin(sleep_until(lifetime.ends.min(Instant::now() + silence)));
        Self { lifetime, silence, heartbeat: None, timer, quiet_until: None, task: None }
    }

    /// Puts the heartbeat off: something is written, and then this is polled, which knows the time.
    pub(crate) fn put_off(&mut self) {
        self.heartbeat = None;
    }

    /// Waits for what is due. A drain is heard of whenever this is polled: `place` is where those who
    /// hand connections away find the task to wake.
    pub(crate) fn poll(&mut self, place: &connections::Task, cx: &mut Context<'_>) -> Poll<Ring> {
        // Named before the phase is looked at: they change it, and then wake.
        self.name_task(place, cx.waker());
        let now = Instant::now();
        let heartbeat = *self.heartbeat.get_or_insert(now + self.silence);
        if self.lifetime.hear() {
            self.set(heartbeat);
        }
        // The clock is at hand where the timer is far: in a cache that thousands of readers share.
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
                return Poll::Ready(Ring::Heartbeat);
            }
            self.set(heartbeat);
        }
    }

    fn name_task(&mut self, place: &connections::Task, task: &Waker) {
        // It is the same task all its life, and the place is far from what a delivery touches.
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
