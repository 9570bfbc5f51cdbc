//! All sources of a relay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Key, Log};
use metrics::Registry;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::{Config, Options};
use crate::copier::{Copier, End};
use crate::states::LastState;
use crate::stats::Stats;

/// The sources of a relay, and the log that they are copied into.
#[derive(Debug)]
pub struct Sources {
    log: Arc<dyn Log>,
    /// The name of this process, unlike that of any other.
    node: String,
    sources: Vec<(String, Options, Stats)>,
}

/// Time between two looks for new parts of a source.
const PARTS_EVERY: Duration = Duration::from_mins(1);
/// Most parts of a source. Each has a connection.
const PARTS_MAX: u32 = 256;

/// The longest name of a node in a lead, which is a part of a bookmark.
const NODE_CHARS_MAX: usize = 100;
/// Time between two states of a source that is copied no more. So it is there although those of others push it out.
const TOLD_EVERY: Duration = Duration::from_secs(10);

impl Sources {
    /// Registers the metrics of all sources. The states name the node.
    #[must_use]
    pub fn new(config: Config, log: Arc<dyn Log>, node: &str, registry: &Registry) -> Self {
        // Two processes may have the name of one node, as one does that is restarted. A lead has spaces between its parts.
        let shown = |c: &char| c.is_ascii_graphic();
        let name: String = node.chars().filter(shown).take(NODE_CHARS_MAX).collect();
        let node = format!("{name}/{:08x}", fastrand::u32(..));
        let sources = config.sources.into_iter().map(|(name, options)| {
            let stats = Stats::default();
            stats.register(registry, &name);
            (name, options, stats)
        });
        Self { log, node, sources: sources.collect() }
    }

    /// Copies all sources until `leaving` is cancelled. A source that is stopped does not stop the others.
    pub async fn run(self, leaving: CancellationToken) {
        let Self { log, node, sources } = self;
        let mut running = JoinSet::new();
        for (name, options, stats) in sources {
            let (log, node, leaving) = (Arc::clone(&log), node.clone(), leaving.clone());
            let one = One { log, node, name, options, stats, leaving };
            running.spawn(one.run());
        }
        while running.join_next().await.is_some() {}
        leaving.cancelled().await;
    }
}

/// One source with all its parts.
struct One {
    log: Arc<dyn Log>,
    node: String,
    name: String,
    options: Options,
    stats: Stats,
    leaving: CancellationToken,
}

impl One {
    async fn run(self) {
        let (mut copiers, mut known) = (JoinSet::new(), BTreeSet::new());
        let mut backoff = Backoff::at_most(PARTS_EVERY);
        loop {
            let pause = match self.options.kind.parts().await {
                Ok(None) => {
                    let copier = self.copier(None);
                    copy(copier, self.leaving).await;
                    return;
                }
                Ok(Some(parts)) => {
                    if parts > PARTS_MAX {
                        let source = &self.name;
                        tracing::error!(
                            source,
                            parts,
                            limit = PARTS_MAX,
                            "a source has too many parts"
                        );
                    }
                    for part in 0..parts.min(PARTS_MAX) {
                        if known.insert(part) {
                            copiers.spawn(copy(self.copier(Some(part)), self.leaving.clone()));
                        }
                    }
                    PARTS_EVERY
                }
                Err(failure) => {
                    self.stats.failed(&failure.to_string());
                    tracing::warn!(source = self.name, %failure, "a source does not tell its parts");
                    backoff.next()
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.leaving.cancelled() => {
                    while copiers.join_next().await.is_some() {}
                    return;
                }
            }
        }
    }

    fn copier(&self, part: Option<u32>) -> Copier {
        let name = match part {
            Some(part) => format!("{}#{part}", self.name),
            None => self.name.clone(),
        };
        Copier {
            log: Arc::clone(&self.log),
            name: Key::new(&name).expect("a checked name and a number are a key"),
            kind: self.options.kind.name(),
            node: self.node.clone(),
            source: self.options.kind.source(part),
            copying: self.options.copying.clone(),
            stats: self.stats.clone(),
            leaving: self.leaving.clone(),
        }
    }
}

/// Copies until the copier ends, and then tells its last state until this relay leaves.
async fn copy(copier: Copier, leaving: CancellationToken) {
    let last = LastState::of(&copier);
    if copier.run().await == End::Left {
        return;
    }
    while leaving.run_until_cancelled(sleep(TOLD_EVERY)).await.is_some() {
        last.tell().await;
    }
}
