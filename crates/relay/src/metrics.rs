//! The metrics of a relay.

use std::sync::Arc;

use metrics::{Counters, IntCounter, Registry};

use crate::outcome::{Answered, Outcome};
use crate::running::Running;

/// The metrics of a relay.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: Counters<Answered>,
    pub(crate) answers: Counters<Outcome>,
    pub(crate) callers_cut: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry, running: &Arc<Running>) -> Self {
        let running = Arc::clone(running);
        let help = "Answers that the relay reads from the upstream and stores.";
        registry.gauge_fn("relay_answers_running", help, move || running.len() as f64);
        Self {
            requests: registry
                .counters("relay_requests_total", "Requests to the relay, by its way to answer."),
            answers: registry.counters("relay_answers_total", "Answers that stream, by their end."),
            callers_cut: registry.counter(
                "relay_callers_cut_total",
                "Callers that were cut off because they did not take their answer.",
            ),
        }
    }
}
