//! The account of a subscriber: its deliveries in the metrics, its close in the log.

use event_log::Event;
use metrics::Label as _;

use super::{CONNECTION, Stage, Subscriber};
use crate::metrics::{Close, age};

impl Subscriber {
    pub(super) fn count(&self, delivered: &[Event]) {
        let metrics = &self.gateway.metrics;
        let count = delivered.len() as u64;
        metrics.delivered.inc_by(count);
        self.admission.connection.events.add(delivered.len());
        match delivered.last() {
            Some(last) if self.caught_up => {
                metrics.delivery_latency_seconds.observe(age(last).as_secs_f64());
            }
            _ => {
                metrics.replayed.inc_by(count);
                self.count_missed(delivered);
            }
        }
    }

    /// Observes the age of the oldest event that the client had missed: the first event that it gets.
    fn count_missed(&self, delivered: &[Event]) {
        let Some(first) = delivered.first().filter(|_| self.outcome.is_continued()) else { return };
        if self.admission.connection.events.get() == delivered.len() as u64 {
            self.gateway.metrics.replay_age_seconds.observe(age(first).as_secs_f64());
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let reason = match self.stage {
            Stage::Closed(reason) => reason,
            // The client is gone, or a general server has closed the connection in its place.
            Stage::Opening | Stage::Open => self.alarm.over().unwrap_or(Close::Client),
        };
        let connection = &self.admission.connection;
        let age = self.admission.age();
        self.gateway.metrics.closed.of(reason).inc();
        self.gateway.metrics.age_seconds.observe(age.as_secs_f64());
        tracing::info!(
            target: CONNECTION,
            connection = connection.id,
            reason = reason.as_str(),
            age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            events = connection.events.get(),
            bytes = connection.bytes.get(),
            sub = self.subject().as_deref(),
            topics = self.admission.connection.texts().count(),
            outcome = self.outcome.as_str(),
            from = self.from(),
            to = self.cursor.wire(),
            client = %connection.whereabouts.peer(),
            forwarded_for = connection.whereabouts.forwarded_for.as_deref(),
            "connection closed"
        );
    }
}
