//! One server, once: started, measured, stopped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::Instant;

use super::topics::{self, Topics};
use super::{Options, Phase};
use crate::contender::{Contender, Stack};
use crate::driver::{Driver, Endpoint, Pace, Tally};
use crate::histogram::Quantiles;

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
    /// Many topics with one reader each, an event a request.
    pub(super) topics: Option<Topics>,
    /// The same, events as lines of one request.
    pub(super) lines: Option<Topics>,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

/// Runs the phases on a server that has just been started.
pub(super) fn measure(
    contender: Contender,
    server: &Stack,
    options: &Options,
    epoch: Instant,
) -> Result<Measured> {
    let mut round = Round {
        server,
        options,
        driver: Driver::new(server.endpoint(), options.event_bytes, epoch)?,
        measured: Measured::default(),
    };
    round.warm_up()?;
    if options.runs_any(&[Phase::Idle, Phase::Fanout, Phase::Pressure]) {
        round.idle()?;
    }
    if options.runs(Phase::Fanout) {
        round.fanout()?;
    }
    if options.runs(Phase::Pressure) {
        round.pressure()?;
    }
    round.close()?;
    if options.runs(Phase::Resume) {
        round.resume()?;
    }
    if options.runs(Phase::Topics) && contender.has_topics() {
        let (posts, lines) = topics::measure(contender, server, &mut round.driver, options)?;
        for measured in [Some(posts), lines].into_iter().flatten() {
            round.measured.lost += measured.lost;
            round.measured.repeated += measured.repeated;
        }
        round.measured.topics = Some(posts);
        round.measured.lines = lines;
    }
    Ok(round.measured)
}

struct Round<'a> {
    server: &'a Stack,
    options: &'a Options,
    driver: Driver,
    measured: Measured,
}

impl Round<'_> {
    fn warm_up(&mut self) -> Result<()> {
        self.driver.publish(1)?;
        // Past the first event, wherever it is delivered through.
        self.driver.idle(PAUSE)?;
        self.driver.open(WARM_UP, None, 2)?;
        self.driver.publish_for(Pace::Rate(50.0), Duration::from_millis(200))?;
        self.close()?;
        self.driver.reset();
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.driver.close()?;
        self.driver.idle(PAUSE)
    }

    /// Opens the readers of the phases that follow.
    fn idle(&mut self) -> Result<()> {
        let readers = self.options.readers as f64;
        let (cpu, memory) = (self.server.cpu()?, self.server.memory()?);
        self.driver.open(self.options.readers, None, self.driver.published() + 1)?;
        self.driver.idle(PAUSE)?;
        let (connected, idle) = (self.server.cpu()? - cpu, self.server.memory()?);
        self.measured.connect_us = Some(micros(connected.all) / readers);
        self.measured.rss_bytes = Some((idle.rss as f64 - memory.rss as f64) / readers);
        self.measured.pss_bytes = Some((idle.pss as f64 - memory.pss as f64) / readers);
        Ok(())
    }

    fn fanout(&mut self) -> Result<()> {
        let before = self.server.cpu()?;
        self.driver.publish_for(Pace::Rate(self.options.rate), self.options.duration)?;
        let tally = self.count();
        let cpu = self.server.cpu()? - before;
        self.measured.fixed_us = Some(micros(cpu.all) / tally.delivered as f64);
        self.measured.fixed_latency = Some(tally.latency.quantiles());
        Ok(())
    }

    fn pressure(&mut self) -> Result<()> {
        let (before, start) = (self.server.cpu()?, Instant::now());
        self.driver.publish_for(Pace::Window(self.options.in_flight), self.options.duration)?;
        let seconds = start.elapsed().as_secs_f64();
        let tally = self.count();
        let (cpu, delivered) = (self.server.cpu()? - before, tally.delivered as f64);
        self.measured.pressure_us = Some(micros(cpu.all) / delivered);
        self.measured.pressure_rate = Some(delivered / seconds);
        self.measured.pressure_batch = Some(delivered / tally.reads as f64);
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        let cursor = capture(&self.server.endpoint(), &mut self.driver)?;
        let first = self.driver.published() + 1;
        self.driver.publish(self.options.missed)?;
        self.driver.idle(PAUSE)?;
        self.driver.reset();
        let before = self.server.cpu()?;
        self.driver.open(self.options.readers, Some(&cursor), first)?;
        self.driver.settle(self.options.missed * self.options.readers as u64)?;
        let tally = self.count();
        let cpu = self.server.cpu()? - before;
        self.measured.resume_us = Some(micros(cpu.all) / tally.delivered as f64);
        self.close()
    }

    /// What the phase counted, which ends here.
    fn count(&mut self) -> Tally {
        let tally = self.driver.reset();
        self.measured.lost += tally.lost;
        self.measured.repeated += tally.repeated;
        tally
    }
}

/// Publishes an event and returns the id that a reader sees with it.
fn capture(endpoint: &Endpoint, driver: &mut Driver) -> Result<String> {
    let mut stream = TcpStream::connect(endpoint.subscribe)?;
    stream.set_read_timeout(Some(CAPTURE_PATIENCE))?;
    stream.write_all(driver.stream_request().as_bytes())?;
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

pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
