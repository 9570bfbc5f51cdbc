//! One server, once: started, measured, stopped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::Instant;

use super::contender::Contender;
use super::driver::{Driver, Endpoint};
use super::{Options, Phase};
use crate::histogram::Quantiles;
use crate::process::Pinned;

/// Streams that are opened and closed before anything is measured, so that lazy parts are made.
const WARM_UP: usize = 64;
/// After a change, before memory is read.
const PAUSE: Duration = Duration::from_millis(300);
const CAPTURE_PATIENCE: Duration = Duration::from_secs(10);

/// What one round has measured. A phase that was not run has `None`.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Measured {
    /// Resident bytes an idle connection.
    pub(super) rss_bytes: Option<f64>,
    /// The same, shared pages divided.
    pub(super) pss_bytes: Option<f64>,
    /// CPU microseconds of the server a connection, until its first byte.
    pub(super) connect_us: Option<f64>,
    /// CPU microseconds a delivery at the fixed rate.
    pub(super) fixed_us: Option<f64>,
    pub(super) fixed_latency: Option<Quantiles>,
    /// CPU microseconds a delivery under pressure.
    pub(super) pressure_us: Option<f64>,
    /// Deliveries a second under pressure.
    pub(super) pressure_rate: Option<f64>,
    /// Events that one read of a client brought under pressure.
    pub(super) pressure_batch: Option<f64>,
    /// CPU microseconds an event for clients that connect and resume.
    pub(super) resume_us: Option<f64>,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

/// Runs the phases on a server that has just been started.
pub(super) fn measure(
    contender: Contender,
    server: &Pinned,
    options: &Options,
    epoch: Instant,
) -> Result<Measured> {
    let endpoint = contender.endpoint(server.addr());
    let mut driver = Driver::new(endpoint.clone(), options.event_bytes, epoch)?;
    let mut measured = Measured::default();
    let readers = options.readers as f64;
    driver.publish(1)?;
    driver.open(WARM_UP, None, 2)?;
    driver.publish_at(50.0, Duration::from_millis(200))?;
    driver.close()?;
    driver.idle(PAUSE)?;
    driver.reset();

    let (cpu, memory) = (server.cpu()?, server.memory()?);
    driver.open(options.readers, None, driver.published() + 1)?;
    driver.idle(PAUSE)?;
    let (connected, idle) = (server.cpu()?, server.memory()?);
    if options.runs(Phase::Idle) {
        measured.connect_us = Some(micros(connected - cpu) / readers);
        measured.rss_bytes = Some((idle.rss as f64 - memory.rss as f64) / readers);
        measured.pss_bytes = Some((idle.pss as f64 - memory.pss as f64) / readers);
    }
    if options.runs(Phase::Fanout) {
        let before = server.cpu()?;
        driver.publish_at(options.rate, options.duration)?;
        let tally = driver.reset();
        measured.fixed_us = Some(micros(server.cpu()? - before) / tally.delivered as f64);
        measured.fixed_latency = Some(tally.latency.quantiles());
        measured.count(tally.lost, tally.repeated);
    }
    if options.runs(Phase::Pressure) {
        let (before, start) = (server.cpu()?, Instant::now());
        driver.publish_under_pressure(options.in_flight, options.duration)?;
        let seconds = start.elapsed().as_secs_f64();
        let tally = driver.reset();
        let delivered = tally.delivered as f64;
        measured.pressure_us = Some(micros(server.cpu()? - before) / delivered);
        measured.pressure_rate = Some(delivered / seconds);
        measured.pressure_batch = Some(delivered / tally.reads as f64);
        measured.count(tally.lost, tally.repeated);
    }
    driver.close()?;
    driver.idle(PAUSE)?;
    if options.runs(Phase::Resume) {
        let cursor = capture(&endpoint, &mut driver)?;
        let first = driver.published() + 1;
        driver.publish(options.missed)?;
        driver.idle(PAUSE)?;
        driver.reset();
        let before = server.cpu()?;
        driver.open(options.readers, Some(&cursor), first)?;
        driver.settle(options.missed)?;
        let tally = driver.reset();
        measured.resume_us = Some(micros(server.cpu()? - before) / tally.delivered as f64);
        measured.count(tally.lost, tally.repeated);
        driver.close()?;
    }
    Ok(measured)
}

impl Measured {
    fn count(&mut self, lost: u64, repeated: u64) {
        self.lost += lost;
        self.repeated += repeated;
    }
}

/// Publishes an event and returns the id that a reader sees with it.
fn capture(endpoint: &Endpoint, driver: &mut Driver) -> Result<String> {
    let mut stream = TcpStream::connect(endpoint.address)?;
    stream.set_read_timeout(Some(CAPTURE_PATIENCE))?;
    write!(
        stream,
        "GET {} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n",
        endpoint.subscribe
    )?;
    driver.idle(PAUSE)?;
    driver.publish(1)?;
    driver.idle(PAUSE)?;
    // Heads and chunk sizes are lines of no field that the parser knows.
    let (mut parser, mut id, mut buffer) = (sse::Parser::default(), None, [0; 8192]);
    while id.is_none() {
        let count = stream.read(&mut buffer).context("no event for the cursor")?;
        anyhow::ensure!(count > 0, "the server closed the stream");
        parser.feed(&buffer[..count], &mut |event| {
            if event.data.starts_with('#') {
                id = Some(event.id);
            }
        });
    }
    id.context("the event has no id")
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
