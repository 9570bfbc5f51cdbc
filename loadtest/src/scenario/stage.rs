//! An audience, a load and the timeline of a run: the common part of scenarios that break things.

use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use super::outcome::Outcome;
use crate::client::load::Load;
use crate::proof::audience::Audience;
use crate::random::Random;
use crate::report::progress::{Progress, bar};
use crate::report::timeline::{MarkKind, Timeline, sample};
use crate::report::{Report, grouped, millis};

/// Between two clients that come at the start.
const ADMISSION: Duration = Duration::from_millis(2);

/// The rest of the run after every client has caught up, for duplicates that come late.
const AFTERMATH: Duration = Duration::from_secs(1);

const STATUS_EVERY: Duration = Duration::from_millis(250);

/// A run while it runs.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) audience: Audience,
    pub(super) progress: Progress,
    timeline: Mutex<Timeline>,
    clients: usize,
}

impl Stage {
    /// Admits all clients and waits until each has its first stream and cursor.
    pub(super) async fn open(
        mut audience: Audience,
        clients: usize,
        seed: u64,
        deadline: Duration,
        progress: Progress,
    ) -> Result<Stage> {
        progress.say(&format!("opening {} streams", grouped(clients as u64)));
        audience.admit(clients, ADMISSION, &mut Random::new(seed)).await;
        let until = Instant::now() + deadline;
        loop {
            let open = audience.ledger().checker.started_clients();
            if open == clients {
                break;
            }
            if Instant::now() > until {
                let ledger = audience.ledger();
                let examples = ledger.oddities.in_words().join("; ");
                bail!(
                    "only {open} of {clients} clients opened a stream ({} attempts failed, {} were refused): {examples}",
                    ledger.failed,
                    ledger.refused
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Stage { audience, progress, timeline: Mutex::new(Timeline::begin()), clients })
    }

    pub(super) fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().expect("nobody panics with it in hand")
    }

    pub(super) fn began(&self) -> Instant {
        self.timeline().began()
    }

    pub(super) fn mark(&self, kind: MarkKind, label: &str) {
        let mut timeline = self.timeline();
        timeline.mark(kind, label);
        self.progress.say(&format!("{:>7.1} s  {label}", timeline.seconds()));
    }

    /// Publishes while `done` runs, then waits for the clients; at most `settle`. Returns the
    /// failures besides the books.
    pub(super) async fn play(
        &self,
        load: Load,
        settle: Duration,
        done: impl Future<Output = Result<Vec<String>>>,
    ) -> Result<Vec<String>> {
        let total = load.duration;
        let acts = async {
            let publishing = load.run(self.audience.epoch(), self.audience.bookkeeper());
            let ((), broken) = tokio::join!(publishing, done);
            let mut broken = broken?;
            self.progress.say("publishers stopped, waiting for the subscribers");
            broken.extend(self.settle(settle).await);
            sleep(AFTERMATH).await;
            Ok(broken)
        };
        tokio::select! {
            broken = acts => broken,
            () = sample(self.audience.tally(), self.began(), |s| self.timeline().add(s)) => unreachable!(),
            () = self.show_status(total) => unreachable!(),
        }
    }

    /// Waits until every client has a stream and all events, or time is up.
    async fn settle(&self, deadline: Duration) -> Option<String> {
        let until = Instant::now() + deadline;
        loop {
            let away = self.audience.tally().away();
            if away == 0 && self.audience.ledger().checker.unfinished() == 0 {
                return None;
            }
            if Instant::now() > until {
                return (away > 0)
                    .then(|| format!("{away} clients without a connection at the end"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn show_status(&self, total: Duration) {
        loop {
            let latest = self.timeline().samples.last().copied();
            if let Some(latest) = latest {
                let tally = self.audience.tally();
                let behind = self.audience.ledger().checker.behind();
                self.progress.status(&format!(
                    "{} {:>4.0} s  connected {:>5} of {}  published {:>6.0}/s  delivered {:>7.0}/s  \
                     behind {behind:>6}  reconnects {:>6}  interrupted {:>7}",
                    bar(latest.at / total.as_secs_f64()),
                    latest.at,
                    latest.connected,
                    self.clients,
                    latest.published,
                    latest.deliveries,
                    tally.reconnects(),
                    millis(latest.interruption * 1000.0),
                ));
            }
            sleep(STATUS_EVERY).await;
        }
    }

    /// Closes all streams, writes the report and prints the table.
    pub(super) async fn conclude(self, outcome: Outcome, directory: &Path) -> Result<Report> {
        let ledger = self.audience.dismiss().await;
        let timeline = self.timeline.into_inner().expect("nobody panics with it in hand");
        let report = outcome.report(&ledger, timeline);
        report.write(directory)?;
        self.progress.report(&report.table(), directory);
        Ok(report)
    }
}
