//! An acknowledged event keeps its number, even if a fail-over loses the event.

use std::sync::Arc;

use event_log::{Gap, Log, Origin, Outcome, Position, Reason, Topic};
use redis_log::RedisLog;

use crate::gaps::{Replica, key};
use crate::server::Server;
use crate::support::{PAGE, Reader, append, audited, config, eventually, fill, open, topic};

/// A topic that has lost its events 4 to 6 in a fail-over.
struct LostTail {
    server: Server,
    t: Topic,
    /// The nodes that got acknowledgements, in order. Of two nodes the second got those from 5 on.
    nodes: Vec<Arc<RedisLog>>,
    /// The positions of a reader that saw 3, and of one that saw 6.
    third: Position,
    sixth: Position,
}

impl LostTail {
    async fn with(nodes: usize) -> Self {
        let server = Server::start().await;
        let t = topic("t");
        let mut logs = Vec::new();
        for _ in 0..nodes {
            logs.push(open(config(&server)).await);
        }
        let (first, last) = (&logs[0], &logs[nodes - 1]);
        fill(first, &t, 1..=2).await;
        let third = append(first, &t, "3").await.position;
        let replica = Replica::of(&server).await;
        append(first, &t, "4").await;
        append(last, &t, "5").await;
        let sixth = append(last, &t, "6").await.position;
        replica.promote(&server).await;
        Self { server, t, nodes: logs, third, sixth }
    }

    async fn resume(&self, at: Position) -> Reader {
        let other = open(config(&self.server)).await;
        Reader::resume(&other, &self.t, &at.to_string()).await
    }
}

fn told(gap: Gap) -> (Reason, Option<u64>) {
    (gap.reason, gap.missed)
}

/// Reads up to number `n`. Returns the numbers, and the sum of the events announced as missing.
async fn all(reader: &mut Reader, n: u64) -> (Vec<u64>, u64) {
    let (mut numbers, mut missed) = (Vec::new(), 0);
    while numbers.last() != Some(&n) {
        match reader.step().await {
            event_log::Step::Events { events, .. } => {
                numbers.extend(events.iter().map(|event| event.position().n));
            }
            event_log::Step::Gap { gap, .. } => {
                assert_eq!(gap.reason, Reason::Trimmed, "{gap:?}");
                missed += gap.missed.expect("an exact number");
            }
            other => panic!("{other:?}"),
        }
    }
    (numbers, missed)
}

#[tokio::test]
async fn a_node_that_got_acknowledgements_continues_after_them() {
    let lost = LostTail::with(1).await;
    let node = &lost.nodes[0];
    let seventh = append(node, &lost.t, "7").await.position;
    assert_eq!(seventh.n, 7);
    append(node, &lost.t, "8").await;
    let mut behind = lost.resume(lost.third).await;
    assert_eq!(told(behind.gap().await), (Reason::Trimmed, Some(3)));
    assert_eq!(behind.until(8).await, [7, 8]);
    let mut ahead = lost.resume(lost.sixth).await;
    assert_eq!(ahead.outcome, Outcome::Exact);
    assert_eq!(ahead.until(8).await, [7, 8]);
    let mut first = lost.resume(Position::START).await;
    assert_eq!(all(&mut first, 8).await, (vec![1, 2, 3, 7, 8], 3));
}

#[tokio::test]
async fn live_readers_continue_too() {
    let server = Server::start().await;
    let (log, t) = (open(config(&server)).await, topic("t"));
    fill(&log, &t, 1..=3).await;
    let (mut ahead, mut behind) = (Reader::latest(&log, &t).await, Reader::latest(&log, &t).await);
    let replica = Replica::of(&server).await;
    fill(&log, &t, 4..=6).await;
    assert_eq!(ahead.until(6).await, [4, 5, 6]);
    replica.promote(&server).await;
    append(&log, &t, "7").await;
    assert_eq!(ahead.until(7).await, [7]);
    // The tail of this node still has the lost events.
    assert_eq!(behind.until(7).await, [4, 5, 6, 7]);
}

#[tokio::test]
async fn a_node_without_a_witness_appends_first_and_the_loss_is_announced_once() {
    for order in [[0, 1], [1, 0]] {
        let lost = LostTail::with(2).await;
        let fresh = open(config(&lost.server)).await;
        let mut live = lost.resume(lost.third).await;
        assert_eq!(append(&fresh, &lost.t, "a").await.position.n, 4);
        let mut last = 0;
        for node in order.into_iter().chain(order) {
            append(&lost.nodes[node], &lost.t, "b").await;
            last = append(&fresh, &lost.t, "c").await.position.n;
        }
        assert_eq!(last, 3 + 3 + 9, "{order:?}");
        for reader in [&mut live, &mut lost.resume(lost.third).await] {
            let (numbers, missed) = all(reader, last).await;
            assert_eq!((numbers.len(), missed), (9, 3), "{order:?} {numbers:?}");
        }
        // A reader that saw the lost events is told of the loss.
        let mut ahead = lost.resume(lost.sixth).await;
        assert_eq!(ahead.gap().await.reason, Reason::Rewound);
    }
}

#[tokio::test]
async fn a_witness_of_fewer_events_appends_first_and_the_rest_is_announced_later() {
    for (order, missed_at_once) in [([0, 1], 1), ([1, 0], 3)] {
        let lost = LostTail::with(2).await;
        let first = append(&lost.nodes[order[0]], &lost.t, "a").await.position;
        assert_eq!(first.n, 4 + missed_at_once);
        let mut live = lost.resume(lost.third).await;
        append(&lost.nodes[order[1]], &lost.t, "b").await;
        append(&lost.nodes[order[0]], &lost.t, "c").await;
        assert_eq!(all(&mut live, 9).await.1, 3, "{order:?}");
    }
}

#[tokio::test]
async fn a_second_failover_is_counted_separately() {
    let lost = LostTail::with(2).await;
    let fresh = open(config(&lost.server)).await;
    append(&fresh, &lost.t, "4").await;
    let replica = Replica::of(&lost.server).await;
    // The second node skips 3, and its own event, number 8, is lost with the skip.
    assert_eq!(append(&lost.nodes[1], &lost.t, "8").await.position.n, 8);
    replica.promote(&lost.server).await;
    assert_eq!(append(&lost.nodes[0], &lost.t, "a").await.position.n, 6);
    append(&lost.nodes[1], &lost.t, "b").await;
    append(&lost.nodes[0], &lost.t, "c").await;
    let mut behind = lost.resume(lost.third).await;
    let (numbers, missed) = all(&mut behind, 3 + 4 + 4).await;
    assert_eq!((numbers.len(), missed), (4, 4), "4 to 6, and the event after them");
}

#[tokio::test]
async fn a_quiet_topic_is_raised_by_the_audit() {
    let server = Server::start().await;
    let (log, t) = (open(audited(&server)).await, topic("t"));
    let other = open(audited(&server)).await;
    fill(&log, &t, 1..=2).await;
    let third = append(&log, &t, "3").await.position;
    let replica = Replica::of(&server).await;
    fill(&log, &t, 4..=6).await;
    let mut ahead = Reader::latest(&log, &t).await;
    let sixth = log.bounds(&t).await.unwrap().unwrap().head;
    replica.promote(&server).await;
    // A promoted replica has no scripts.
    server.words::<()>("SCRIPT FLUSH").await;
    let mut behind = loop {
        let mut reader = Reader::resume(&other, &t, &third.to_string()).await;
        if reader.outcome != Outcome::Exact {
            break reader;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let _ = &mut reader;
    };
    let gap = behind.gap().await;
    assert_eq!((told(gap), gap.resume), ((Reason::Trimmed, Some(3)), sixth));
    let ttl: i64 = server.words(&format!("PTTL {}", key(&server, 'h').await)).await;
    assert!(ttl == -1, "the life of the restored key: {ttl}");
    append(&other, &t, "7").await;
    assert_eq!(behind.until(7).await, [7]);
    assert_eq!(ahead.until(7).await, [7]);
}

#[tokio::test]
async fn a_quiet_topic_that_grew_elsewhere_is_raised_after_a_reconnect() {
    let lost = LostTail::with(1).await;
    let fresh = open(config(&lost.server)).await;
    append(&fresh, &lost.t, "4").await;
    let mut live = lost.resume(lost.third).await;
    assert_eq!(live.until(4).await, [4]);
    // The witness has no reader. Its feed has no channel, is cut off and reconnects.
    lost.server.words::<()>("CLIENT KILL TYPE normal").await;
    assert_eq!(told(live.gap().await), (Reason::Trimmed, Some(3)));
    append(&fresh, &lost.t, "8").await;
    assert_eq!(live.until(8).await, [8]);
}

#[tokio::test]
async fn a_wiped_topic_is_not_raised() {
    let server = Server::start().await;
    let (log, t) = (open(audited(&server)).await, topic("t"));
    let other = open(audited(&server)).await;
    fill(&log, &t, 1..=6).await;
    let mut reader = Reader::open(&log, &t, Origin::Latest).await;
    server.words::<()>("FLUSHALL").await;
    assert_eq!(reader.gap().await.reason, Reason::Reset);
    let (finds, stats) = (log.stats().audit_finds(), log.stats());
    eventually("the audit was there", || stats.audit_finds() >= finds).await;
    assert_eq!(append(&other, &t, "1").await.position.n, 1);
    assert_eq!(append(&log, &t, "2").await.position.n, 2);
    assert_eq!(reader.until(2).await, [1, 2]);
    let page = log.read(&t, Position::START, PAGE).await.unwrap();
    assert_eq!(page.events.len(), 2);
}
