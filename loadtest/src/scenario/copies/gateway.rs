//! Another Tailwater as a source, by its event stream.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::system::{SourceRecord, System, Writer};
use crate::client::http;
use crate::machine::{AppendFsync, Redis, Tailwater};

/// A node over a Redis of its own.
#[derive(Debug)]
pub(super) struct Upstream {
    _redis: Redis,
    node: Tailwater,
}

/// The topic of the source.
const TOPIC: &str = "upstream";
/// The longest time for which a write is repeated.
const WRITE_MAX: Duration = Duration::from_mins(1);

impl Upstream {
    pub(super) async fn start(program: &Path, directory: &Path) -> Result<Self> {
        let kept = |name: &str| directory.join(name);
        let redis = Redis::builder().append_fsync(AppendFsync::Everysec);
        let redis = redis.directory(kept("upstream-redis")).start().await?;
        let node = Tailwater::serve(program).node("upstream").redis(&redis);
        let node = node.flag("--retry", "500ms").flag("--history-events", "1000000");
        let node = node.directory(kept("upstream")).start().await?;
        Ok(Self { _redis: redis, node })
    }
}

#[async_trait(?Send)]
impl System for Upstream {
    fn table(&self) -> String {
        let url = format!("http://{}/v1/events?topic={TOPIC}&from=earliest", self.node.addr());
        format!("topic = \"t-0001\"\nsse = {{ url = \"{url}\" }}\n")
    }

    fn topics(&self) -> usize {
        1
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        let client = http::Client::new(self.node.addr()).timeout(Duration::from_secs(5));
        Ok(Box::new(IngestWriter(client)))
    }

    async fn kill_nine(&mut self) -> Result<()> {
        self.node.kill_nine()
    }

    async fn restart(&mut self) -> Result<()> {
        self.node.restart().await
    }
}

struct IngestWriter(http::Client);

#[async_trait(?Send)]
impl Writer for IngestWriter {
    async fn write(&mut self, records: &[SourceRecord]) -> Result<()> {
        let lines: Vec<_> = records
            .iter()
            .map(|record| {
                let key = format!("r-{}", record.id);
                let line = serde_json::json!({"topic": TOPIC, "data": record.data, "key": key});
                format!("{line}\n")
            })
            .collect();
        let body = Bytes::from(lines.concat());
        let until = Instant::now() + WRITE_MAX;
        loop {
            let headers = [("content-type", "application/x-ndjson")];
            let answer = self.0.post("/v1/events", &headers, body.clone()).await;
            if let Ok(answer) = &answer
                && answer.status == 200
                && !answer.text().contains("\"error\"")
            {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the upstream does not take records: {answer:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}
