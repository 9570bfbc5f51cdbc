//! One server, once: started, measured, stopped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::Instant;

use super::flow::{self, Flow};
use super::million::{self, Million};
use super::scale::{self, Scale};
use super::selections::{self, Selections};
use super::steady::{self, Steady};
use super::topics::{self, Topics};
use super::{Options, Phase};
use super::{cold, private};
use crate::cost::contender::{Contender, Stack};
use crate::cost::driver::{Driver, DriverEndpoint, Pace, PublishWire, Tally};
use crate::cost::mint::Mint;
use crate::report::histogram::Quantiles;

/// Streams that are opened and closed before anything is measured, so that lazy parts are made.
const WARM_UP: usize = 64;
/// The load at which latencies are compared: 30 % of the server's core.
pub(super) const SHARE: f64 = 0.3;
/// Clients that come back at once: fewer than a node remembers tokens.
const RETURNING: usize = 200;
/// The number of times that they return.
const RETURNS: usize = 5;
/// Readers that are there before connections are measured: enough to fill the caches of a server, which do not
/// grow with its readers.
const FEW: usize = 512;
/// After a change, before memory is read.
const PAUSE: Duration = Duration::from_millis(300);
const CAPTURE_PATIENCE: Duration = Duration::from_secs(10);

/// The measurements of one round. A phase that did not run has `None`.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct BenchMeasured {
    /// Resident bytes an idle connection.
    pub(super) rss_bytes: Option<f64>,
    /// The same, shared pages divided.
    pub(super) pss_bytes: Option<f64>,
    /// CPU microseconds of the server a connection, until its first byte.
    pub(super) connect_us: Option<f64>,
    /// The same for clients that have been there a moment ago.
    pub(super) return_us: Option<f64>,
    /// CPU microseconds of one verification of a token, alone.
    pub(super) verify_us: Option<f64>,
    /// CPU microseconds a delivery at the fixed rate.
    pub(super) fixed_us: Option<f64>,
    /// At 30 % of the server's core.
    pub(super) part_latency: Option<Quantiles>,
    /// CPU microseconds a delivery under pressure.
    pub(super) pressure_us: Option<f64>,
    /// Deliveries a second under pressure.
    pub(super) pressure_rate: Option<f64>,
    /// Events that one read of a client brought under pressure.
    pub(super) pressure_batch: Option<f64>,
    /// CPU microseconds an event for clients that connect and resume.
    pub(super) resume_us: Option<f64>,
    /// Reads that Redis answers for a client that resumes outside the gateway's memory.
    pub(super) cold_reads: Option<f64>,
    /// As many deliveries as are offered.
    pub(super) million: Option<Million>,
    /// Few readers, and many.
    pub(super) scale: Option<Scale>,
    /// Many topics with one reader each, an event a request.
    pub(super) topics: Option<Topics>,
    /// The same, events as lines of one request.
    pub(super) lines: Option<Topics>,
    /// A token and a topic for each reader.
    pub(super) private: Option<Flow>,
    /// Readers of a space of topics.
    pub(super) selections: Option<Selections>,
    /// No readers, an event a request.
    pub(super) intake: Option<Flow>,
    /// The same, events as lines of a few requests.
    pub(super) intake_lines: Option<Flow>,
    /// One rate for all servers.
    pub(super) steady: Option<Steady>,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

/// Runs the phases on a server that has just been started; `rate` is that of the phase `steady`.
pub(super) fn measure(
    contender: Contender,
    server: &Stack,
    options: &Options,
    epoch: Instant,
    rate: Option<f64>,
    begin: impl Fn(Phase),
) -> Result<BenchMeasured> {
    let mut round = Round {
        contender,
        server,
        options,
        rate,
        epoch,
        driver: Driver::new(server.endpoint(), options.event_bytes, epoch)?,
        measured: BenchMeasured::default(),
    };
    round.warm_up()?;
    for phase in Phase::ALL {
        if options.measures(phase, contender) {
            begin(phase);
            round.run(phase)?;
        }
    }
    Ok(round.measured)
}

struct Round<'a> {
    contender: Contender,
    server: &'a Stack,
    options: &'a Options,
    /// Events a second of the phase `steady`.
    rate: Option<f64>,
    epoch: Instant,
    driver: Driver,
    measured: BenchMeasured,
}

impl Round<'_> {
    fn run(&mut self, phase: Phase) -> Result<()> {
        match phase {
            Phase::Idle => self.idle(),
            Phase::Fanout => self.fanout(),
            Phase::Latency => self.latency(),
            Phase::Pressure => self.pressure(),
            Phase::Resume => self.resume(),
            Phase::Cold => self.cold(),
            Phase::Scale => self.scale(),
            Phase::Topics => self.topics(),
            Phase::Million => self.million(),
            Phase::Private => self.private(),
            Phase::Selections => self.selections(),
            Phase::Publishing => self.publishing(),
            Phase::Steady => self.steady(),
        }
    }

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
        self.driver.close();
        self.driver.idle(PAUSE)
    }

    /// The readers of one topic, unless they are there.
    fn open(&mut self) -> Result<()> {
        let readers = self.options.readers;
        if self.driver.readers() != readers {
            self.close()?;
            self.driver.open(readers, None, self.driver.published() + 1)?;
            self.driver.idle(PAUSE)?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        self.close()?;
        let few = FEW.min(self.options.readers / 2);
        self.driver.open(few, None, self.driver.published() + 1)?;
        self.driver.idle(PAUSE)?;
        let readers = (self.options.readers - few) as f64;
        let (cpu, memory) = (self.server.cpu()?, self.server.memory()?);
        self.driver.open(self.options.readers - few, None, self.driver.published() + 1)?;
        self.driver.idle(PAUSE)?;
        let (connected, idle) = (self.server.cpu()? - cpu, self.server.memory()?);
        self.measured.connect_us = Some(micros(connected.all) / readers);
        self.measured.rss_bytes = Some((idle.rss as f64 - memory.rss as f64) / readers);
        self.measured.pss_bytes = Some((idle.pss as f64 - memory.pss as f64) / readers);
        self.come_back()?;
        let mint = self.server.endpoint().mint;
        self.measured.verify_us = mint.map(Mint::verify_us).transpose()?;
        Ok(())
    }

    /// Some clients connect, leave and connect again, several times.
    fn come_back(&mut self) -> Result<()> {
        let open = |driver: &mut Driver| driver.open(RETURNING, None, driver.published() + 1);
        self.close()?;
        open(&mut self.driver)?;
        let mut again = Duration::ZERO;
        for _ in 0..RETURNS {
            self.close()?;
            let before = self.server.cpu()?;
            open(&mut self.driver)?;
            again += (self.server.cpu()? - before).all;
        }
        self.measured.return_us = Some(micros(again) / (RETURNS * RETURNING) as f64);
        self.close()
    }

    fn fanout(&mut self) -> Result<()> {
        self.open()?;
        let before = self.server.cpu()?;
        self.driver.publish_for(Pace::Rate(self.options.rate), self.options.duration)?;
        let tally = self.count();
        let cpu = self.server.cpu()? - before;
        self.measured.fixed_us = Some(micros(cpu.all) / tally.delivered as f64);
        Ok(())
    }

    fn latency(&mut self) -> Result<()> {
        let cost = self.measured.fixed_us.context("the phase latency needs the phase fanout")?;
        self.open()?;
        let rate = SHARE * 1e6 / (cost * self.options.readers as f64);
        self.driver.publish_for(Pace::Rate(rate), self.options.duration)?;
        self.measured.part_latency = Some(self.count().latency.quantiles());
        Ok(())
    }

    fn pressure(&mut self) -> Result<()> {
        self.open()?;
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
        self.close()?;
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
        Ok(())
    }

    fn cold(&mut self) -> Result<()> {
        self.close()?;
        self.measured.cold_reads = Some(cold::measure(self.server)?);
        Ok(())
    }

    fn scale(&mut self) -> Result<()> {
        self.close()?;
        let (scale, tallies) = scale::measure(self.server, &mut self.driver, self.options)?;
        self.measured.scale = Some(scale);
        tallies.iter().for_each(|tally| self.add(tally));
        Ok(())
    }

    fn topics(&mut self) -> Result<()> {
        self.close()?;
        self.driver.use_topics(self.options.topics);
        self.driver.open_topics(0)?;
        for wire in self.wires() {
            let (topics, tallies) =
                topics::measure(self.server, &mut self.driver, self.options, *wire)?;
            tallies.iter().for_each(|tally| self.add(tally));
            match wire {
                PublishWire::Posts => self.measured.topics = Some(topics),
                PublishWire::Lines => self.measured.lines = Some(topics),
            }
        }
        self.end_topics()
    }

    /// The ways in which events can be published.
    const fn wires(&self) -> &'static [PublishWire] {
        if self.contender.is_ours() {
            &[PublishWire::Posts, PublishWire::Lines]
        } else {
            &[PublishWire::Posts]
        }
    }

    /// Comes back to one topic and one publisher.
    fn end_topics(&mut self) -> Result<()> {
        self.close()?;
        self.driver.use_topics(1);
        self.driver.publish_over(1, PublishWire::Posts)
    }

    fn million(&mut self) -> Result<()> {
        self.open()?;
        let (readers, offered) = (self.options.readers, self.options.offered);
        let time = self.options.duration;
        let (million, tally) =
            million::measure(self.server, &mut self.driver, offered, readers, time)?;
        self.measured.million = Some(million);
        self.add(&tally);
        Ok(())
    }

    fn private(&mut self) -> Result<()> {
        self.close()?;
        let (flow, tally) = private::measure(self.server, self.options, self.epoch)?;
        self.measured.private = Some(flow);
        self.add(&tally);
        Ok(())
    }

    fn selections(&mut self) -> Result<()> {
        self.close()?;
        let (selections, tallies) =
            selections::measure(self.contender, self.server, &mut self.driver, self.options)?;
        self.measured.selections = Some(selections);
        tallies.iter().for_each(|tally| self.add(tally));
        self.end_topics()
    }

    fn publishing(&mut self) -> Result<()> {
        self.close()?;
        for wire in self.wires() {
            let flow = flow::measure_intake(self.server, &mut self.driver, self.options, *wire)?;
            match wire {
                PublishWire::Posts => self.measured.intake = Some(flow),
                PublishWire::Lines => self.measured.intake_lines = Some(flow),
            }
        }
        self.end_topics()
    }

    fn steady(&mut self) -> Result<()> {
        let rate = self.rate.context("the rate of the phase steady is not known")?;
        let (steady, tally) = steady::measure(self.server, &mut self.driver, self.options, rate)?;
        self.measured.steady = Some(steady);
        self.add(&tally);
        self.end_topics()
    }

    fn add(&mut self, tally: &Tally) {
        self.measured.lost += tally.lost;
        self.measured.repeated += tally.repeated;
    }

    /// Ends the phase and returns its deliveries.
    fn count(&mut self) -> Tally {
        let tally = self.driver.reset();
        self.add(&tally);
        tally
    }
}

/// Publishes an event and returns the id that a reader sees with it.
fn capture(endpoint: &DriverEndpoint, driver: &mut Driver) -> Result<String> {
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
