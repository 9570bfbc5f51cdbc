//! The cost of a transport for the server, in one round.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::Options;
use super::certificate::Certificate;
use super::streams::WireCrowd;
use super::transport::{Transport, WireClient};
use crate::cost::contender::Stack;
use crate::report::histogram::Quantiles;

/// Streams that are opened and closed before anything is measured, so that lazy parts are made.
const WARM_UP: usize = 100;
/// After a change, before memory is read.
const PAUSE: Duration = Duration::from_millis(500);
/// The events for readers that do not read: more than the kernel holds for a connection.
const STALL_EVENTS: u64 = 200;
const STALL_BYTES: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(30);

/// The measurements of one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct WireCost {
    /// CPU microseconds a delivery.
    pub(super) cpu_us: f64,
    /// CPU microseconds a stream, until its first byte.
    pub(super) connect_us: f64,
    /// Resident bytes a stream that has got nothing yet.
    pub(super) idle_bytes: f64,
    /// The same after the events.
    pub(super) used_bytes: f64,
    /// Resident bytes a stream whose connection is not read, with events waiting for it. Only of
    /// those that share connections: the kernel takes too much for one of its own.
    pub(super) stalled_bytes: Option<f64>,
    pub(super) latency: Quantiles,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

/// Opens the streams, publishes for a time, and waits until every reader has every event.
pub(super) async fn measure(
    server: &Stack,
    transport: Transport,
    certificate: &Certificate,
    options: &Options,
    epoch: Instant,
) -> Result<WireCost> {
    let client = WireClient::new(server.endpoint().subscribe, transport, certificate)?;
    let open = |count, next| WireCrowd::open(&client, count, transport.streams, next, epoch);
    let publishing = WireClient::new(server.endpoint().publish, transport, certificate)?;
    let mut early = open(WARM_UP, 1).await?;
    publishing.connect().await?.publish(early.payload(1, options.event_bytes)).await?;
    early.settle(WARM_UP as u64, PATIENCE).await?;
    drop(early);
    sleep(PAUSE).await;

    let (empty, start) = (server.memory()?, server.cpu()?);
    let mut crowd = open(options.readers, 2).await?;
    sleep(PAUSE).await;
    let (connected, idle) = (server.cpu()?, server.memory()?);

    // Not before: the server does not wait for ever for an idle connection's next request.
    let mut publisher = publishing.connect().await?;
    let before = server.cpu()?;

    let (begun, events) = (Instant::now(), options.events());
    for event in 0..events {
        sleep_until(begun + Duration::from_secs_f64(event as f64 / options.rate)).await;
        publisher.publish(crowd.payload(2 + event, options.event_bytes)).await?;
    }
    sleep(PAUSE).await;
    let (delivered, used) = (server.cpu()?, server.memory()?);

    let readers = options.readers as f64;
    let tally = crowd.settle(events * options.readers as u64, PATIENCE).await?;
    let mut stalled_bytes = None;
    if transport.streams > 1 {
        client.stall.cancel();
        for event in 0..STALL_EVENTS {
            publisher.publish(crowd.payload(2 + events + event, STALL_BYTES)).await?;
        }
        sleep(PAUSE).await;
        stalled_bytes = Some((server.memory()?.rss as f64 - empty.rss as f64) / readers);
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(WireCost {
        cpu_us: micros((delivered - before).all) / (events as f64 * readers),
        connect_us: micros((connected - start).all) / readers,
        idle_bytes: (idle.rss as f64 - empty.rss as f64) / readers,
        used_bytes: (used.rss as f64 - empty.rss as f64) / readers,
        stalled_bytes,
        latency: tally.latency.quantiles(),
        lost: tally.lost,
        repeated: tally.repeated,
    })
}
