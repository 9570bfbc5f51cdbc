//! One client attacks a node, and no honest client may notice.

mod attack;
mod ends;
mod fleet;
mod hellos;
mod honest;
mod idlers;
mod place;
mod raw;
mod streams;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Common;
use crate::machine::cluster::find_tailwater;
use crate::report::progress::{Progress, bar};
use crate::report::{Sheet, SheetRow, grouped};

pub use attack::Attack;
use honest::{Account, Honest};
use target::{BUDGET_BYTES, Besieged, Store};

const NAME: &str = "siege";

/// The 99th percentile below which a time is good whatever it was before, in milliseconds: two cores are
/// shared by the node, Redis, the honest clients and the attacker.
const GOOD_MS: f64 = 20.0;
/// The 99th percentile that is never good, in milliseconds.
const BAD_MS: f64 = 100.0;
/// Growth of a node's memory beside its budget for clients, in bytes: connections, and the allocator's.
const BESIDE_BYTES: u64 = 64 << 20;
/// Bytes that Redis may send for each byte of a replay.
const AMPLIFICATION_MAX: f64 = 2.0;
/// The part of a trial before the attack, in the long and the short form.
const BEFORE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(2)];
/// The attack itself, in the long and the short form.
const DURING: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(3)];

/// Attacks a node with one client and proves that honest clients do not pay.
///
/// Each attack has a node of its own, on Redis and on the embedded log, with honest subscribers and a
/// publisher of 100 events a second at 127.0.0.1. The attacker comes from 127.0.0.66. The node trusts no
/// proxy, may open 1,024 files and has a memory budget of 64 MiB; its Redis has 64 MB.
///
/// Exit code 0 only if, during every attack, the honest 99th percentiles are at most twice those before
/// (or below 20 ms) and below 100 ms, nobody honest is refused, nothing is lost or comes twice, the
/// node is ready all the time, and its memory grows by no more than its budget and 64 MiB; if Redis
/// sends at most 2 bytes for each byte of a replay, and 4 KiB to find a place from the end; if streams
/// that take nothing end with a drain's window, and at their --max-age; if 1,024 half TLS hellos slow
/// honest handshakes by no more; and if connections that only ping end within 75 s, and slow changes of
/// the log levels within 10 s; and if hasty clients at a full node are answered at most 20 times a second
/// at each address; else 1. The fleets are 200 clients of event-source-plus; they need Node.js and
/// `interop/setup npm`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The options of every scenario.
    #[command(flatten)]
    pub common: Common,

    /// Honest subscribers.
    #[arg(long, default_value_t = 200)]
    pub clients: usize,

    /// Four attacks, on Redis, for a few seconds; latencies are reported and not judged.
    #[arg(long)]
    pub quick: bool,

    /// These attacks alone.
    #[arg(long, value_enum)]
    pub only: Vec<Attack>,

    /// The directory in which interop/setup has installed event-source-plus.
    #[arg(long, value_name = "DIR", default_value = "target/interop")]
    pub programs: PathBuf,
}

/// The measurements of one attack.
struct Trial {
    before: [f64; 2],
    during: [f64; 2],
    account: Account,
    held: String,
    granted: BTreeMap<String, u64>,
    grown: u64,
    redis_grown: u64,
    /// Bytes that Redis sent for each that the attacker got.
    amplification: Option<f64>,
    failures: Vec<String>,
}

/// The node during an attack.
struct Watch {
    /// True if it was alive and ready all the time.
    was_well: bool,
    /// The greatest part of each limit that one address had.
    held: BTreeMap<String, u64>,
}

/// Runs the attacks, writes the report and prints the table.
///
/// # Errors
/// When a process does not start.
pub async fn run(options: &Options) -> Result<Sheet> {
    let progress = Progress::new();
    let program = find_tailwater(options.common.tailwater.as_deref())?;
    let attacks = match &options.only[..] {
        [] if options.quick => Attack::QUICK.to_vec(),
        [] => Attack::ALL.to_vec(),
        only => only.to_vec(),
    };
    let stores = if options.quick { &Store::ALL[..1] } else { &Store::ALL[..] };
    let trials: Vec<_> = attacks
        .iter()
        .flat_map(|attack| stores.iter().map(move |store| (*attack, *store)))
        .collect();
    let mut rows = Vec::new();
    for (index, (attack, store)) in trials.iter().enumerate() {
        let done = index as f64 / trials.len() as f64;
        progress.status(&format!("{} {} on {}", bar(done), attack.as_str(), store.as_str()));
        let trial = options.trial(&program, *attack, *store).await;
        let trial = trial.with_context(|| format!("{} on {}", attack.as_str(), store.as_str()))?;
        rows.push(trial.row(*attack, *store, options.judges_times()));
    }
    if options.only.is_empty() {
        progress.status("streams that take nothing");
        rows.push(ends::drain(&program).await?);
        if !options.quick {
            rows.push(ends::age(&program).await?);
            progress.status("places from the end");
            rows.push(place::run(&program).await?);
            progress.status("half hellos");
            rows.push(hellos::run(&program).await?);
            progress.status("connections that ask for nothing");
            rows.extend(idlers::run(&program).await?);
        }
    }
    let columns = [
        "attack",
        "log",
        "held",
        "delivery p99 ms",
        "publish p99 ms",
        "refused",
        "lost",
        "RSS MiB",
        "Redis MiB",
        "Redis / client",
    ];
    let sheet = Sheet {
        title: "Siege".to_owned(),
        summary: format!(
            "One client attacks a node with {} honest subscribers and 100 publishes a second.",
            grouped(options.clients as u64)
        ),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    };
    sheet.write(&options.common.directory(NAME))?;
    Ok(sheet)
}

impl Options {
    /// A timing on a machine that does other work is no verdict, so the short form only reports it.
    fn judges_times(&self) -> bool {
        !self.quick
    }

    async fn trial(&self, program: &Path, attack: Attack, store: Store) -> Result<Trial> {
        let index = usize::from(self.quick);
        let target = Besieged::start(program, store, &attack.flags(self.clients)).await?;
        attack.prepare(&target).await?;
        let honest = Honest::start(target.addr(), self.clients).await?;
        sleep(Duration::from_secs(1)).await;
        let _warm_up = honest.times();
        sleep(BEFORE[index]).await;
        let before = honest.times().p99();
        let (rss, memory, sent) =
            (target.rss()?, target.redis_memory().await?, target.redis_sent().await?);
        let time = DURING[index];
        let (loot, watch) =
            tokio::join!(attack.run(&target, &self.programs, time), watch(&target, time));
        let loot = loot?;
        let during = honest.times().p99();
        let grown = target.rss()?.saturating_sub(rss);
        let redis_grown = target.redis_memory().await?.saturating_sub(memory);
        let sent = target.redis_sent().await?.saturating_sub(sent) as f64;
        let mut failures = loot.failures;
        if !watch.was_well {
            failures.push("the node was not alive or not ready".to_owned());
        }
        let replayed = loot.replayed.filter(|_| store == Store::Redis);
        let amplification = replayed.map(|(bytes, _)| sent / bytes.max(1) as f64);
        let account = honest.stop().await;
        let held = loot.held;
        let granted = watch.held;
        Ok(Trial {
            before,
            during,
            account,
            held,
            granted,
            grown,
            redis_grown,
            amplification,
            failures,
        })
    }
}

/// Looks at the node while it is attacked.
async fn watch(target: &Besieged, time: Duration) -> Watch {
    let end = Instant::now() + time;
    let mut watch = Watch { was_well: true, held: BTreeMap::new() };
    while Instant::now() < end {
        watch.was_well &= target.is_well().await;
        for (limit, part) in target.greatest_parts().await {
            let greatest = watch.held.entry(limit).or_default();
            *greatest = part.max(*greatest);
        }
        sleep(Duration::from_millis(500)).await;
    }
    watch
}

impl Trial {
    fn row(mut self, attack: Attack, store: Store, judges_times: bool) -> SheetRow {
        if judges_times {
            self.judge_times();
        }
        self.judge();
        let times = |index: usize| format!("{:.1} → {:.1}", self.before[index], self.during[index]);
        let mib = |bytes: u64| format!("+{:.0}", bytes as f64 / f64::from(1 << 20));
        let ratio =
            self.amplification.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let cells = [
            attack.as_str().to_owned(),
            store.as_str().to_owned(),
            self.held.clone(),
            times(0),
            times(1),
            self.account.refused.to_string(),
            (self.account.lost + self.account.wrong).to_string(),
            mib(self.grown),
            mib(self.redis_grown),
            ratio,
        ];
        let granted = self.granted.iter().filter(|(_, part)| **part > 0);
        let granted: Vec<_> = granted.map(|(limit, part)| format!("{limit} {part}")).collect();
        SheetRow {
            about: format!("{} on the {} log.", attack.as_str(), store.as_str()),
            cells: cells.to_vec(),
            failures: self.failures,
            notes: vec![format!("greatest part of one address: {}", granted.join(", "))],
            plots: Vec::new(),
            marks: Vec::new(),
            raw: json!({ "published": self.account.published, "before": self.before, "during": self.during }),
        }
    }

    fn judge_times(&mut self) {
        for (index, what) in ["delivery", "publish"].into_iter().enumerate() {
            let (before, during) = (self.before[index], self.during[index]);
            if during > (2.0 * before).max(GOOD_MS) || during > BAD_MS {
                self.failures.push(format!("{what} p99 went from {before:.1} to {during:.1} ms"));
            }
        }
    }

    fn judge(&mut self) {
        let Account { refused, lost, wrong, .. } = self.account;
        for (count, what) in [(refused, "refused"), (lost, "lost"), (wrong, "out of order")] {
            if count > 0 {
                self.failures.push(format!("{count} {what}"));
            }
        }
        if self.grown > BUDGET_BYTES + BESIDE_BYTES {
            self.failures.push(format!("the node grew by {} MiB", self.grown >> 20));
        }
        if let Some(ratio) = self.amplification.filter(|ratio| *ratio > AMPLIFICATION_MAX) {
            self.failures.push(format!("Redis sent {ratio:.1} times the replay"));
        }
    }
}
