//! Comparing tails with their heads: the loss of a topic's last message shows in nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::address::Address;
use crate::keys;
use crate::node::{Backoff, Node, every, jitter};
use crate::repair::repair;
use crate::stats::Op;
use crate::store::Found;
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
        tokio::select! {
            biased;
            _ = tick.tick() => all(&node).await,
            () = node.topics.suspected() => {
                sleep(jitter(SPREAD)).await;
                for (_, suspects) in by_owner(&node, node.topics.take_suspects()) {
                    // Each on its own: a primary that is away must not hold back another's.
                    node.spawn(compare(Arc::clone(&node), suspects));
                }
            }
        }
    }
}

/// Compares every tail with its log's head, while the feed goes on.
async fn all(node: &Arc<Node>) {
    let topics = node.topics.all();
    let earlier: Vec<_> = topics.iter().map(|watched| watched.head()).collect();
    let (mut behind, mut lost) = (Vec::new(), 0);
    let mut failed = None;
    for ((watched, head), earlier) in heads(node, topics).await.into_iter().zip(earlier) {
        match head.map(|head| (watched.compare(earlier, head), head)) {
            Ok((Compared::Same, _)) => {}
            Ok((Compared::Behind, head)) => behind.push((watched, earlier, head)),
            Ok((Compared::Apart, _)) => lost += found(node, watched),
            Err(failure) => failed = Some(failure),
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
    if let Some(failure) = failed {
        node.stats.failed(Op::Audit);
        tracing::warn!(%failure, "audit failed");
    }
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
async fn compare(node: Arc<Node>, mut suspects: Vec<Arc<Watched>>) {
    let mut backoff = Backoff::new();
    let (mut topics, mut repairs) = (0, 0);
    while !suspects.is_empty() {
        for watched in &suspects {
            watched.begin();
        }
        let mut failed = None;
        for (watched, head) in heads(&node, std::mem::take(&mut suspects)).await {
            match head {
                Ok(head) => {
                    topics += 1;
                    if watched.compared(head) == Verdict::Read {
                        repairs += 1;
                        node.spawn(repair(Arc::clone(&node), watched));
                    }
                }
                Err(failure) => {
                    watched.failed();
                    suspects.push(watched);
                    failed = Some(failure);
                }
            }
        }
        if let Some(failure) = failed {
            node.stats.failed(Op::Audit);
            tracing::debug!(%failure, "comparing heads failed");
            sleep(backoff.next()).await;
        }
    }
    tracing::info!(topics, repairs, "compared the heads of joined topics");
}

fn by_owner(node: &Node, all: Vec<Arc<Watched>>) -> HashMap<Option<Address>, Vec<Arc<Watched>>> {
    let map = node.topology.map();
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for watched in all {
        let owner = map.owner(keys::partition(&watched.topic)).cloned();
        groups.entry(owner).or_default().push(watched);
    }
    groups
}

async fn heads(node: &Node, watched: Vec<Arc<Watched>>) -> Vec<(Arc<Watched>, Found)> {
    let topics: Vec<_> = watched.iter().map(|watched| &watched.topic).collect();
    // Raised first: then a tail that has what the log has lost is where it belongs.
    let heads = node.store.raised_heads(&topics).await;
    watched.into_iter().zip(heads).collect()
}
