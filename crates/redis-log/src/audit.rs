//! Comparing tails with their heads: the loss of a topic's last message shows in nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::error::Failure;
use crate::head::Head;
use crate::node::{Backoff, Node, every, jitter};
use crate::repair::repair;
use crate::stats::Op;
use crate::watched::{Compared, Verdict, Watched};

/// How long a message may be on its way before its absence is a loss.
const ON_ITS_WAY: Duration = Duration::from_millis(200);
/// Nodes that lost the same server come back at the same time: their first reads spread over this.
const SPREAD: Duration = Duration::from_millis(50);

/// Audits all topics at an interval, and suspected ones at once, until the log closes.
pub(crate) async fn run(node: Arc<Node>) {
    let mut tick = every(node.config.audit);
    tick.tick().await;
    loop {
        // Both arms are cancel-safe: a tick and a notification stay until they are taken. A storm of
        // suspects must not put the audit off, so its arm stands first.
        let failed = tokio::select! {
            biased;
            _ = tick.tick() => all(&node).await,
            () = node.topics.suspected() => suspects(&node).await,
        };
        if let Err(failure) = failed {
            node.stats.failed(Op::Audit);
            tracing::warn!(%failure, "audit failed");
        }
    }
}

/// Compares every tail with its log's head, while the feed goes on.
async fn all(node: &Arc<Node>) -> Result<(), Failure> {
    let topics = node.topics.all();
    let earlier: Vec<_> = topics.iter().map(|watched| watched.head()).collect();
    let (mut behind, mut lost) = (Vec::new(), 0);
    for ((watched, head), earlier) in heads(node, topics).await?.into_iter().zip(earlier) {
        match watched.compare(earlier, head) {
            Compared::Same => {}
            Compared::Behind => behind.push((watched, earlier, head)),
            Compared::Apart => lost += found(node, watched),
        }
    }
    if !behind.is_empty() {
        sleep(ON_ITS_WAY).await;
    }
    for (watched, earlier, head) in behind {
        if watched.compare(earlier, head) != Compared::Same {
            lost += found(node, watched);
        }
    }
    if lost > 0 {
        tracing::info!(topics = lost, "the audit found tails apart from their logs");
    }
    Ok(())
}

/// A tail that is to be repaired; counts 1 unless that goes on already.
fn found(node: &Arc<Node>, watched: Arc<Watched>) -> u64 {
    if watched.suspect() == Verdict::Fine {
        return 0;
    }
    node.stats.audit_found();
    node.spawn(repair(Arc::clone(node), watched));
    1
}

/// Compares those tails whose subscription was broken, holding back what the feed brings meanwhile.
async fn suspects(node: &Arc<Node>) -> Result<(), Failure> {
    sleep(jitter(SPREAD)).await;
    let mut backoff = Backoff::new();
    let (mut topics, mut repairs) = (0, 0);
    let mut suspects = node.topics.take_suspects();
    while !suspects.is_empty() {
        for watched in &suspects {
            watched.begin();
        }
        match heads(node, suspects.clone()).await {
            Ok(heads) => {
                topics += heads.len();
                for (watched, head) in heads {
                    if watched.compared(head) == Verdict::Read {
                        repairs += 1;
                        node.spawn(repair(Arc::clone(node), watched));
                    }
                }
                suspects.clear();
            }
            Err(failure) => {
                for watched in &suspects {
                    watched.failed();
                }
                node.stats.failed(Op::Audit);
                tracing::debug!(%failure, "comparing heads failed");
                sleep(backoff.next()).await;
            }
        }
        suspects.extend(node.topics.take_suspects());
    }
    tracing::info!(topics, repairs, "compared the heads of joined topics");
    Ok(())
}

async fn heads(
    node: &Node,
    watched: Vec<Arc<Watched>>,
) -> Result<Vec<(Arc<Watched>, Option<Head>)>, Failure> {
    let topics: Vec<_> = watched.iter().map(|watched| &watched.topic).collect();
    let heads = node.store.heads(&topics).await?;
    Ok(watched.into_iter().zip(heads).collect())
}
