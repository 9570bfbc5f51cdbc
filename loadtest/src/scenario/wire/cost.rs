//! What a transport costs the server, in one round.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::Options;
use super::certificate::Certificate;
use super::crowd::Crowd;
use super::transport::{Client, Transport};
use crate::contender::Stack;
use crate::histogram::Quantiles;

/// Streams that are opened and closed before anything is measured, so that lazy parts are made.
const WARM_UP: usize = 100;
/// After a change, before memory is read.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cost {
    /// CPU microseconds a delivery.
    pub(super) cpu_us: f64,
    /// CPU microseconds a stream, until its first byte.
    pub(super) connect_us: f64,
    /// Resident bytes a stream that has got nothing yet.
    pub(super) idle_bytes: f64,
    /// The same after the events.
    pub(super) used_bytes: f64,
    pub(super) latency: Quantiles,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

/// Opens the streams, publishes for a time, and waits until everybody has everything.
pub(super) async fn measure(
    server: &Stack,
    transport: Transport,
    certificate: &Certificate,
    options: &Options,
    epoch: Instant,
) -> Result<Cost> {
    let client = Client::new(server.endpoint().subscribe, transport, certificate)?;
    let open = |count, next| Crowd::open(&client, count, transport.streams, next, epoch);
    let mut publisher = client.connect().await?;
    let early = open(WARM_UP, 1).await?;
    publisher.publish(early.payload(1, options.event_bytes)).await?;
    early.settle(WARM_UP as u64, PATIENCE).await?;
    sleep(PAUSE).await;

    let (empty, start) = (server.memory()?, server.cpu()?);
    let crowd = open(options.readers, 2).await?;
    sleep(PAUSE).await;
    let (connected, idle) = (server.cpu()?, server.memory()?);

    let (begun, events) = (Instant::now(), options.events());
    for event in 0..events {
        sleep_until(begun + Duration::from_secs_f64(event as f64 / options.rate)).await;
        publisher.publish(crowd.payload(2 + event, options.event_bytes)).await?;
    }
    sleep(PAUSE).await;
    let (delivered, used) = (server.cpu()?, server.memory()?);

    let readers = options.readers as f64;
    let tally = crowd.settle(events * options.readers as u64, PATIENCE).await?;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(Cost {
        cpu_us: micros((delivered - connected).all) / (events as f64 * readers),
        connect_us: micros((connected - start).all) / readers,
        idle_bytes: (idle.rss as f64 - empty.rss as f64) / readers,
        used_bytes: (used.rss as f64 - empty.rss as f64) / readers,
        latency: tally.latency.quantiles(),
        lost: tally.lost,
        repeated: tally.repeated,
    })
}
