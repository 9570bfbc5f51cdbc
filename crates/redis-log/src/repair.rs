//! Bringing a tail to its log's head after something was missed.

use std::sync::Arc;

use event_log::Position;
use tokio::time::sleep;

use crate::error::Failure;
use crate::node::{Backoff, Node};
use crate::stats::Op;
use crate::store::{Behind, PAGE};
use crate::watched::{Found, Verdict, Watched};

/// Reads a topic until its tail follows the feed again. To be run by whoever was told
/// [`Verdict::Read`]; it goes on for as long as Redis is away.
pub(crate) async fn repair(node: Arc<Node>, watched: Arc<Watched>) {
    let mut backoff = Backoff::new();
    loop {
        // Without the feed a repair is in vain: its reconnection suspects every topic anew.
        if !node.feed_is_up(&watched.topic).await {
            return;
        }
        let Ok(turn) = node.repairs.acquire().await else { return };
        let head = watched.begin();
        node.stats.repaired();
        let found = find(&node, &watched, head).await;
        drop(turn);
        match found.map(|found| watched.read(found)) {
            Ok(Verdict::Fine) => return,
            Ok(Verdict::Read) => {}
            Err(failure) => {
                watched.failed();
                node.stats.failed(Op::Repair);
                tracing::debug!(topic = %watched.topic, %failure, "repair failed");
                sleep(backoff.next()).await;
            }
        }
    }
}

async fn find(node: &Node, watched: &Watched, tail: Position) -> Result<Found, Failure> {
    let Behind { head, page } = node.store.behind(&watched.topic, tail, PAGE).await?;
    if let Some(gap) = page.gap {
        tracing::debug!(
            topic = %watched.topic, %tail, head = %gap.newest, reason = gap.reason.as_str(),
            "the log does not continue the tail"
        );
    } else {
        let last = page.events.last().map_or(tail, |event| event.position());
        if head.is_none_or(|head| head.position() <= last) {
            tracing::debug!(topic = %watched.topic, events = page.events.len(), "repaired");
            return Ok(Found::Next(page.events));
        }
    }
    Ok(Found::Elsewhere(node.store.window(&watched.topic).await?))
}
