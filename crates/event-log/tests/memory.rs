//! The embedded log passes the suite that every log must pass, and agrees with the model.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::conformance::{Lab, RETENTION, model, spaces};
use event_log::{Log, LogName, MemoryLog, Retention};
use tokio::runtime::{Builder, Runtime};

struct MemoryLab {
    log: Arc<MemoryLog>,
    ageing: Option<Retention>,
}

#[async_trait]
impl Lab for MemoryLab {
    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log) as Arc<dyn Log>
    }

    async fn second(&self) -> Arc<dyn Log> {
        self.log()
    }

    async fn flush(&self) {
        self.log.flush();
    }

    async fn trim(&self, log: &LogName, keep: usize) {
        self.log.trim(log, keep);
    }

    fn ageing(&self) -> Option<Retention> {
        self.ageing
    }
}

async fn lab() -> MemoryLab {
    MemoryLab { log: Arc::new(MemoryLog::with_spaces(RETENTION, spaces())), ageing: None }
}

event_log::conformance!(lab);

#[test]
fn every_interleaving_agrees_with_the_model() {
    model::interleavings(300, paused, lab);
}

#[test]
fn every_interleaving_with_events_topics_and_keys_that_age_agrees_with_the_model() {
    let retention = Retention {
        events: 9,
        space_events: 9,
        age: Duration::from_secs(10),
        topic: Duration::from_secs(30),
        key: Duration::from_secs(5),
    };
    model::interleavings(500, paused, async || MemoryLab {
        log: Arc::new(MemoryLog::with_spaces(retention, spaces())),
        ageing: Some(retention),
    });
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}
