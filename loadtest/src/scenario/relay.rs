//! The cost of the relay, beside a proxy that stores nothing.

mod caller;
mod comparison;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::time::{Instant, interval};

use self::caller::{Heard, Script};
use super::Common;
use super::mixed::Cores;
use super::rounds::interleaved;
use crate::cost::contender::{Passage, Programs, RelayWay};
use crate::machine::cluster::find_tailwater;
use crate::report::Comparison;
use crate::report::progress::Progress;

const NAME: &str = "relay";
/// The time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(1);

/// Measures what a token of an answer costs the relay, and how much later it arrives, beside nginx.
///
/// A scripted API of a language model streams many answers at once: to the callers directly, through nginx
/// (`proxy_pass` with `proxy_buffering off`), through the relay, and through the relay while a second client reads
/// each answer at a gateway. Every token tells the time at which it was sent. All processes of a way share a core; the
/// callers and the API have another one. Exits with 1 if a caller, a reader, or a client that reads a topic afterwards
/// gets anything but the answer.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// The ways that are measured: all, or `relay` alone.
    #[arg(long, value_enum, default_value = "all")]
    ways: Ways,

    /// Answers at a time. The callers ask for them within a second.
    #[arg(long, default_value_t = 60)]
    answers: usize,

    /// Tokens of an answer.
    #[arg(long, default_value_t = 500)]
    tokens: u64,

    /// Tokens a second of each answer.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,

    /// The number of rounds; each measures every way once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// A choice of ways.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Ways {
    All,
    Relay,
}

/// The measurements of one round.
#[derive(Debug, Clone, Serialize)]
struct RelayCost {
    way: RelayWay,
    /// CPU microseconds a token of nginx or the relay, of Redis and of the gateway; `None` where there is none.
    proxy_us: Option<f64>,
    redis_us: Option<f64>,
    gateway_us: Option<f64>,
    /// The age of a token when its caller has it.
    p50_ms: f64,
    p99_ms: f64,
    /// The same for the readers of the gateway.
    reader_p50_ms: Option<f64>,
    reader_p99_ms: Option<f64>,
    /// Largest resident memory of nginx or the relay, in MiB.
    rss_mib: Option<f64>,
    /// From the first request to the end of the last answer.
    seconds: f64,
    /// Answers that came complete and as they were sent: to their callers, to their readers, and afterwards.
    whole: Heard,
    /// The first difference.
    wrong: Vec<String>,
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start.
pub async fn run(options: &Options) -> Result<Comparison> {
    let Options { answers, tokens, rate, rounds, .. } = *options;
    ensure!(answers > 0 && tokens > 0 && rounds > 0, "there is nothing to measure");
    ensure!(rate > 0.0 && rate <= 1000.0, "--rate is {rate}; it must be above 0 and at most 1000");
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: None,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let driver =
        Programs { cores: options.cores.driver_core.to_string().parse()?, ..programs.clone() };
    let upstream = driver.start_upstream().await?;
    let ways = match options.ways {
        Ways::All => RelayWay::ALL.to_vec(),
        Ways::Relay => vec![RelayWay::Relay],
    };
    let progress = Progress::new();
    let columns = ways.into_iter().map(|way| (way, way.name().to_owned()));
    let once = async |way: RelayWay| {
        let passage = programs.start_way(way, upstream.addr(), answers).await?;
        let cost = measure(way, &passage, upstream.addr(), options).await;
        passage.stop().await?;
        cost
    };
    let rounds = interleaved(columns, rounds, &progress, once).await?;
    upstream.stop().await?;
    let report = comparison::report(options, &rounds);
    report.write(&directory)?;
    progress.report(&format!("{}\n{}", report.table(), report.figures()), &directory);
    Ok(report)
}

async fn measure(
    way: RelayWay,
    passage: &Passage,
    upstream: SocketAddr,
    options: &Options,
) -> Result<RelayCost> {
    let script = Script { answers: options.answers, tokens: options.tokens, rate: options.rate };
    let core = options.cores.driver_core;
    let proxy = passage.proxy().unwrap_or(upstream);
    let (before, begun) = (passage.cpu()?, Instant::now());
    let gateway = passage.gateway();
    let mut calls = tokio::task::spawn_blocking(move || caller::call(core, proxy, gateway, script));
    let (mut looks, mut rss) = (interval(LOOK), None);
    let mut asked = loop {
        tokio::select! {
            asked = &mut calls => break asked.context("the callers panicked")??,
            _ = looks.tick() => rss = rss.max(passage.rss()?),
        }
    };
    let (cpu, seconds) = (passage.cpu()?, begun.elapsed().as_secs_f64());
    if way.has_log() {
        let read = tokio::task::spawn_blocking(move || {
            caller::read_again(core, proxy, script, &mut asked).map(|()| asked)
        });
        asked = read.await.context("the readers panicked")??;
    }
    let tokens = (script.answers as u64 * script.tokens) as f64;
    let us = |after: Duration, before: Duration| {
        let time = (after - before).as_secs_f64() * 1e6 / tokens;
        (time > 0.0).then_some(time)
    };
    let (callers, readers) = (asked.callers.quantiles(), asked.readers.quantiles());
    let of_readers = |ms: f64| (readers.count > 0).then_some(ms);
    Ok(RelayCost {
        way,
        proxy_us: us(cpu.proxy, before.proxy),
        redis_us: us(cpu.redis, before.redis),
        gateway_us: us(cpu.gateway, before.gateway),
        p50_ms: callers.p50_ms,
        p99_ms: callers.p99_ms,
        reader_p50_ms: of_readers(readers.p50_ms),
        reader_p99_ms: of_readers(readers.p99_ms),
        rss_mib: rss.map(|rss| rss as f64 / f64::from(1 << 20)),
        seconds,
        whole: asked.whole,
        wrong: asked.wrong,
    })
}
