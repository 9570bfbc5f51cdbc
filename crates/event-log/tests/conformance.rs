//! The embedded log passes the suite that every log must pass.

use std::sync::Arc;

use async_trait::async_trait;
use event_log::conformance::{Lab, RETENTION};
use event_log::{Log, MemoryLog, Topic};

struct MemoryLab(Arc<MemoryLog>);

#[async_trait]
impl Lab for MemoryLab {
    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.0) as Arc<dyn Log>
    }

    async fn second(&self) -> Arc<dyn Log> {
        self.log()
    }

    async fn flush(&self) {
        self.0.flush();
    }

    async fn trim(&self, topic: &Topic, keep: usize) {
        self.0.trim(topic, keep);
    }
}

async fn lab() -> MemoryLab {
    MemoryLab(Arc::new(MemoryLog::new(RETENTION)))
}

event_log::conformance!(lab);
