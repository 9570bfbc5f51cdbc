//! The reads of Redis for one client that resumes outside the memory of its gateway.
//!
//! The topic has events before its first reader comes, so the gateway holds only the newest ones.
//! The first reader stays at the tail, so the reads for a topic that becomes watched are over
//! before the count begins.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::client::http;
use crate::client::sse::EventSource;
use crate::cost::contender::Stack;

const PATH: &str = "/v1/events?topic=cold";
/// Events of the resume: more than the newest ones that a gateway holds once a topic has a reader,
/// and so few that one page of the log reaches those.
const MISSED: u64 = 200;
/// After a change, before Redis is asked for its counts.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct ColdReceipt {
    id: String,
}

/// Publishes events, resumes after the first one and returns the number of `XRANGE` that Redis ran
/// until the last one came.
pub(super) fn measure(server: &Stack) -> Result<f64> {
    Handle::current().block_on(async { timeout(PATIENCE, reads(server)).await? })
}

async fn reads(server: &Stack) -> Result<f64> {
    let mut publisher = http::Client::new(server.endpoint().publish);
    let mut ids = Vec::new();
    for _ in 0..=MISSED {
        let receipt = publisher.post(PATH, &[("content-type", "text/plain")], "cold").await?;
        ids.push(receipt.json::<ColdReceipt>()?.id);
    }
    let (first, last) = (ids.first().context("no event")?, ids.last().context("no event")?);
    let gateway = server.endpoint().subscribe;
    let mut watcher = EventSource::new(gateway, PATH);
    watcher.next_event().await.context("the watcher's stream did not open")?;
    sleep(PAUSE).await;

    let before = server.redis_calls("xrange").await?;
    let mut reader = EventSource::new(gateway, PATH).header("last-event-id", first);
    let mut came = 0;
    loop {
        let event = reader.next_event().await.context("the server refused the reader")?;
        came += u64::from(!event.is_control());
        if event.id == *last {
            break;
        }
    }
    ensure!(came == MISSED, "{came} of {MISSED} events came");
    sleep(PAUSE).await;
    Ok((server.redis_calls("xrange").await? - before) as f64)
}
