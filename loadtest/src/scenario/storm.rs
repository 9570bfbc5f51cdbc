//! All subscribers come back at once.

mod figures;
pub mod worker;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use self::figures::{Figures, StormCost};
use self::worker::CrowdAnswer;
use super::Common;
use crate::client::http;
use crate::client::payload::Payload;
use crate::machine::cluster::find_tailwater;
use crate::machine::{Redis, Tailwater, Worker};
use crate::report::progress::Progress;
use crate::report::{Report, grouped};

const NAME: &str = "storm";

/// Sockets that one worker process holds: well below the number of files that it may open.
const CLIENTS_A_WORKER: usize = 10_000;

/// Events that one request publishes.
const BATCH: usize = 500;

const CONNECT_DEADLINE: Duration = Duration::from_secs(120);
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(120);

/// Lets all subscribers come back within two seconds, each of them some events behind.
///
/// All subscribers are connected to the gateways and have all events. Then one gateway is killed
/// with -9, every subscriber loses its stream, and events are published to every topic. Then all
/// subscribers come back to the other gateways, each with its own cursor. The report counts the
/// commands of Redis, the CPU time of Redis and of the gateways, and the time until the last
/// subscriber has all events. Exits with 0 only if every subscriber got them once and in order.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// Subscribers, spread evenly over the topics.
    #[arg(long, default_value_t = 20_000)]
    clients: usize,

    /// Topics.
    #[arg(long, default_value_t = 500)]
    topics: usize,

    /// Events that each topic gets while the subscribers are away.
    #[arg(long, default_value_t = 100)]
    behind: u32,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// Time over which the subscribers come back.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    within: Duration,

    /// Gateways; the first is killed and stays away.
    #[arg(long, default_value_t = 3)]
    gateways: usize,

    /// Restarts the other gateways too, so that no gateway holds an event in memory.
    #[arg(long)]
    cold: bool,

    /// `redis`, `valkey`, or the path of a server.
    #[arg(long, value_name = "NAME|PATH", default_value = "redis")]
    server: String,
}

/// Everything that takes part.
struct Storm<'a> {
    options: &'a Options,
    redis: Redis,
    ingest: http::Client,
    _ingest: Tailwater,
    gateways: Vec<Tailwater>,
    workers: Vec<Worker>,
    published: u32,
    /// Streams that ended with the killed gateway.
    dropped: u64,
}

/// The name of a topic.
pub(crate) fn topic(index: usize) -> String {
    format!("s-{index:04}")
}

/// Runs it, writes the report and prints the figures.
///
/// # Errors
/// When something does not start, or the subscribers do not get their first streams.
pub async fn run(options: &Options) -> Result<Report> {
    ensure!(options.gateways > 1, "one gateway is killed: it takes two at least");
    let progress = Progress::new();
    let directory = std::path::absolute(options.common.directory(NAME))?;
    progress.say("starting");
    let mut storm = Box::pin(Storm::start(options)).await?;
    storm.publish(5).await?;
    progress.say(&format!("opening {} streams", grouped(options.clients as u64)));
    storm.connect().await?;
    storm.publish(1).await?;
    storm.await_current().await?;
    progress.say("kill -9 of a gateway; every subscriber loses its stream");
    storm.break_off().await?;
    storm.publish(options.behind).await?;
    progress.say("all subscribers come back");
    let (answers, cost) = storm.come_back().await?;
    let server = crate::lab::Server::find(&options.server)?;
    let figures = Figures::new(options, server.version, &answers, cost, storm.dropped);
    let report = figures.report();
    report.write(&directory)?;
    progress.report(&report.table(), &directory);
    Ok(report)
}

impl Storm<'_> {
    async fn start(options: &Options) -> Result<Storm<'_>> {
        let program = find_tailwater(options.common.tailwater.as_deref())?;
        let server = crate::lab::Server::find(&options.server)?;
        let redis = Redis::builder().program(server.program).start().await?;
        let ingest = Tailwater::ingest(&program).redis(&redis).start().await?;
        let mut gateways = Vec::new();
        for number in 1..=options.gateways {
            let gateway = Tailwater::gateway(&program).node(format!("gw-{number}")).redis(&redis);
            gateways.push(gateway.flag("--retry", "500ms").start().await?);
        }
        let count = options.clients.div_ceil(CLIENTS_A_WORKER);
        let mut workers = Vec::new();
        for number in 0..count {
            let share = (options.clients + number) / count;
            let topics = options.topics.to_string();
            let seed = (options.common.seed + number as u64).to_string();
            let args = [
                "storm-crowd",
                "--clients",
                &share.to_string(),
                "--topics",
                &topics,
                "--seed",
                &seed,
            ];
            workers.push(Worker::start(&args.map(str::to_owned))?);
        }
        Ok(Storm {
            options,
            redis,
            ingest: http::Client::new(ingest.addr()).timeout(Duration::from_secs(60)),
            _ingest: ingest,
            gateways,
            workers,
            published: 0,
            dropped: 0,
        })
    }

    /// Publishes so many events to each topic, in batches, each event with a key of its own.
    async fn publish(&mut self, count: u32) -> Result<()> {
        let Options { topics, event_bytes, .. } = *self.options;
        let events = (1..=count).flat_map(|n| (0..topics).map(move |index| (n, index)));
        let events: Vec<(u32, usize)> = events.collect();
        for batch in events.chunks(BATCH) {
            let mut body = String::new();
            for (n, index) in batch {
                let (seq, topic) = (self.published + n, topic(*index));
                let data = Payload { seq, sent: Duration::ZERO, topic: &topic }.encode(event_bytes);
                let line =
                    serde_json::json!({"topic": topic, "data": data, "key": seq.to_string()});
                writeln!(body, "{line}").expect("a String takes everything");
            }
            let headers = [("content-type", "application/x-ndjson")];
            let answer = self.ingest.post("/v1/events", &headers, Bytes::from(body)).await?;
            let receipts = answer.text().matches("\"duplicate\":false").count();
            ensure!(
                receipts == batch.len(),
                "{receipts} receipts for {} events: {}",
                batch.len(),
                answer.text()
            );
        }
        self.published += count;
        Ok(())
    }

    /// Tells all workers to connect to these gateways, spread over a time.
    async fn order_connect(&mut self, spread: Duration, from: usize) -> Result<()> {
        let addrs: Vec<String> =
            self.gateways[from..].iter().map(|g| g.addr().to_string()).collect();
        let order = format!("connect {} {}", spread.as_millis(), addrs.join(","));
        for worker in &mut self.workers {
            worker.order(&order).await?;
        }
        Ok(())
    }

    /// Gives every subscriber a first stream.
    async fn connect(&mut self) -> Result<()> {
        let spread = Duration::from_millis(self.options.clients as u64 / 2);
        self.order_connect(spread, 0).await?;
        let until = Instant::now() + CONNECT_DEADLINE;
        loop {
            let answers = self.ask("state 0").await?;
            let connected: usize = answers.iter().map(|answer| answer.connected).sum();
            if connected == self.options.clients {
                return Ok(());
            }
            ensure!(Instant::now() < until, "only {connected} subscribers have a stream");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks all workers, and returns when all of their clients are current or time is up.
    async fn await_current(&mut self) -> Result<Vec<CrowdAnswer>> {
        let until = Instant::now() + CATCH_UP_DEADLINE;
        let order = format!("state {}", self.published);
        loop {
            let answers = self.ask(&order).await?;
            let current: usize = answers.iter().map(|answer| answer.current).sum();
            if current == self.options.clients || Instant::now() > until {
                return Ok(answers);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ask(&mut self, order: &str) -> Result<Vec<CrowdAnswer>> {
        let mut answers = Vec::new();
        for worker in &mut self.workers {
            worker.order(order).await?;
            answers.push(worker.answer().await?);
        }
        Ok(answers)
    }

    /// Kills a gateway and closes every stream.
    async fn break_off(&mut self) -> Result<()> {
        self.gateways[0].kill_nine()?;
        for worker in &mut self.workers {
            worker.order("drop").await?;
        }
        sleep(Duration::from_millis(500)).await;
        if self.options.cold {
            for gateway in &mut self.gateways[1..] {
                gateway.restart().await?;
            }
        }
        self.dropped = self.ask("state 0").await?.iter().map(|answer| answer.dropped).sum();
        Ok(())
    }

    /// Lets all subscribers come back, and counts the cost.
    async fn come_back(&mut self) -> Result<(Vec<CrowdAnswer>, StormCost)> {
        // The work before this moment does not count.
        sleep(Duration::from_secs(1)).await;
        self.redis.query(&["CONFIG", "RESETSTAT"]).await?;
        let before = self.cpu().await?;
        let begin = Instant::now();
        self.order_connect(self.options.within, 1).await?;
        let answers = self.await_current().await?;
        let (took, after) = (begin.elapsed(), self.cpu().await?);
        let stats = self.redis.query(&["INFO", "commandstats"]).await?.concat();
        Ok((answers, StormCost::new(&stats, before, after, took)))
    }

    /// CPU time of Redis by its own account, and of the gateways that live.
    async fn cpu(&self) -> Result<(Duration, Duration)> {
        let mut redis = Duration::ZERO;
        for field in ["used_cpu_user", "used_cpu_sys"] {
            redis += Duration::from_secs_f64(self.redis.info(field).await?.parse()?);
        }
        let gateways = self.gateways[1..].iter().map(Tailwater::cpu_time);
        let gateways = gateways.sum::<Result<Duration>>().context("a gateway is gone")?;
        Ok((redis, gateways))
    }
}
