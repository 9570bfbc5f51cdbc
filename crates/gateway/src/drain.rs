//! Draining: closing connections gradually, so that clients reconnect to other gateways.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Close;

/// The phases of a gateway's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Normal operation.
    Serving,
    /// Not ready any more, but still serving, until the load balancers have noticed.
    Leaving,
    /// Each connection is closed at a random moment before the end of the window, and its client reconnects elsewhere.
    HandingAway {
        /// The end of the window.
        until: Instant,
        /// The time at which every connection is closed: the end of the window, but not before a client
        /// had time to take its last event.
        closed: Instant,
    },
}

/// Time after the end of a stream until its connection is closed although bytes still wait for the
/// client: a client that is only slow gets its last event.
pub(crate) const OVERDUE_AFTER: Duration = Duration::from_secs(2);

/// The longest time by which a stream ends before it must.
const EARLY_MAX: Duration = Duration::from_secs(8);

impl Phase {
    /// A window that begins now.
    pub(crate) fn handing_away(window: Duration) -> Self {
        let now = Instant::now();
        Self::HandingAway { until: now + window, closed: now + window.max(OVERDUE_AFTER) }
    }
}

/// The planned end of a connection. The client may leave earlier.
#[derive(Debug)]
pub(crate) struct Lifetime {
    phase: watch::Receiver<Phase>,
    /// The end, as currently planned.
    pub(crate) ends: Instant,
    /// The reason for the planned end.
    pub(crate) reason: Close,
}

impl Lifetime {
    /// Returns a lifetime of `max_age` ± 20 %, so that connections that opened together do not close
    /// together.
    pub(crate) fn new(mut phase: watch::Receiver<Phase>, max_age: Duration) -> Self {
        // The first call of `hear` must see the current phase.
        phase.mark_changed();
        let jitter = 0.8 + 0.4 * fastrand::f64();
        Self { phase, ends: Instant::now() + max_age.mul_f64(jitter), reason: Close::MaxAge }
    }

    /// Ends the connection before a right does that lasts for `left`: early enough that it is closed by then,
    /// whatever waits, and at moments of their own for clients whose rights end together.
    pub(crate) fn within(mut self, left: Option<Duration>) -> Self {
        let Some(left) = left else { return self };
        let spare = left.saturating_sub(OVERDUE_AFTER);
        let early = EARLY_MAX.mul_f64(fastrand::f64()).min(spare / 2);
        let ends = Instant::now() + (spare - early);
        if ends < self.ends {
            self.ends = ends;
            self.reason = Close::TokenExpired;
        }
        self
    }

    /// Checks the phase and returns true if a drain has moved the planned end. An unchanged phase costs
    /// one load. The code that changes the phase also wakes the connections.
    pub(crate) fn hear(&mut self) -> bool {
        if self.reason == Close::Drain || !self.phase.has_changed().unwrap_or(false) {
            return false;
        }
        let Phase::HandingAway { until, .. } = *self.phase.borrow_and_update() else {
            return false;
        };
        let now = Instant::now();
        let window = until.saturating_duration_since(now);
        // A slow client gets its last event within the window.
        let window = window.saturating_sub(OVERDUE_AFTER).max(window.mul_f64(0.75));
        self.ends = self.ends.min(now + window.mul_f64(fastrand::f64()));
        self.reason = Close::Drain;
        true
    }
}

impl Lifetime {
    /// Returns the time at which the connection is closed, whatever waits: at the latest the end of a
    /// drain's window.
    pub(crate) fn overdue(&self) -> Instant {
        let overdue = self.ends + OVERDUE_AFTER;
        match *self.phase.borrow() {
            Phase::HandingAway { closed, .. } => overdue.min(closed.max(self.ends)),
            Phase::Serving | Phase::Leaving => overdue,
        }
    }

    /// Returns the reason if the connection should have ended by now.
    pub(crate) fn over(&self) -> Option<Close> {
        let now = Instant::now();
        if self.ends <= now {
            return Some(self.reason);
        }
        let is_drained =
            matches!(*self.phase.borrow(), Phase::HandingAway { closed, .. } if closed <= now);
        is_drained.then_some(Close::Drain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_spreads_the_ends_over_its_window() {
        let (phase, receiver) = watch::channel(Phase::Serving);
        let window = Duration::from_secs(30);
        let mut ends = Vec::new();
        for _ in 0..300 {
            let mut life = Lifetime::new(receiver.clone(), Duration::from_mins(30));
            phase.send_replace(Phase::handing_away(window));
            assert!(life.hear() && !life.hear());
            assert_eq!(life.reason, Close::Drain);
            ends.push(life.ends - Instant::now());
        }
        assert!(ends.iter().all(|end| *end <= window + Duration::from_millis(1)));
        for third in 0..3 {
            let (from, to) = (window / 3 * third, window / 3 * (third + 1));
            let share = ends.iter().filter(|end| (from..to).contains(*end)).count();
            assert!(share > 50, "{share} of 300 in third {third}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_ends_a_connection_in_time() {
        let (_phase, receiver) = watch::channel(Phase::Serving);
        let start = Instant::now();
        for left in [0, 1, 3, 10, 60, 1000].map(Duration::from_secs) {
            for _ in 0..50 {
                let life = Lifetime::new(receiver.clone(), Duration::from_secs(100));
                let life = life.within(Some(left));
                let is_by_age = life.reason == Close::MaxAge;
                assert!(is_by_age || life.reason == Close::TokenExpired);
                assert_eq!(is_by_age, left > Duration::from_secs(130), "{left:?}");
                assert!(life.overdue() <= start + left.max(OVERDUE_AFTER), "{left:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn age_ends_a_connection_within_a_fifth() {
        let (_phase, receiver) = watch::channel(Phase::Serving);
        let start = Instant::now();
        let life = Lifetime::new(receiver, Duration::from_secs(100));
        assert_eq!(life.reason, Close::MaxAge);
        assert!((80..=120).contains(&(life.ends - start).as_secs()));
    }
}
