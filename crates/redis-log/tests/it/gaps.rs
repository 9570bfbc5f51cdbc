//! The resume table, end to end.

use event_log::{Log, Origin, Outcome, Reason, Seek};

use crate::server::Server;
use crate::support::{Reader, append, audited, config, eventually, fill, open, topic};

/// The only key of a kind, `e`, `h` or `i`.
pub(crate) async fn key(server: &Server, kind: char) -> String {
    let keys: Vec<String> = server.words(&format!("KEYS {kind}:*")).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys.into_iter().next().unwrap()
}

/// The data of a replica that lags: the stream and the head as they were. Its promotion puts them on
/// the server, under another replication id.
pub(crate) struct Replica {
    keys: Vec<(String, Vec<u8>)>,
}

impl Replica {
    pub(crate) async fn of(server: &Server) -> Self {
        let mut keys = Vec::new();
        for kind in ['e', 'h'] {
            let key = key(server, kind).await;
            let dump = server.words(&format!("DUMP {key}")).await;
            keys.push((key, dump));
        }
        Self { keys }
    }

    pub(crate) async fn promote(self, server: &Server) {
        for (key, dump) in self.keys {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(key).arg(0).arg(dump).arg("REPLACE");
            server.run::<()>(&restore).await;
        }
        server.words::<()>("DEBUG CHANGE-REPL-ID").await;
    }
}

#[tokio::test]
async fn trimmed_events_are_counted_exactly() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=10).await;
    let mut early = Reader::resume(&log, &t, "0-0").await;
    early.until(10).await;
    let cursor = log.read(&t, event_log::Position::START, crate::support::PAGE).await.unwrap();
    let third = cursor.events[2].position().to_string();
    server.words::<()>(&format!("XTRIM {} MAXLEN 4", key(&server, 'e').await)).await;
    let other = open(config(&server)).await;
    let mut reader = Reader::resume(&other, &t, &third).await;
    assert_eq!(reader.outcome, Outcome::Gap);
    let gap = reader.gap().await;
    assert_eq!((gap.reason, gap.missed), (Reason::Trimmed, Some(3)));
    assert_eq!(gap.oldest.map(|oldest| oldest.n), Some(7));
    assert_eq!(reader.until(10).await, [7, 8, 9, 10]);
}

#[tokio::test]
async fn a_deleted_stream_is_an_exact_gap() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=10).await;
    server.words::<()>(&format!("DEL {}", key(&server, 'e').await)).await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    let gap = reader.gap().await;
    assert_eq!((gap.reason, gap.missed, gap.newest.n), (Reason::Trimmed, Some(10), 10));
    append(&log, &t, "11").await;
    assert_eq!(reader.until(11).await, [11]);
}

#[tokio::test]
async fn a_deleted_head_loses_nothing() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=5).await;
    let mut live = Reader::latest(&log, &t).await;
    server.words::<()>(&format!("DEL {}", key(&server, 'h').await)).await;
    // Without a head the stream answers everything.
    let bounds = log.bounds(&t).await.unwrap().unwrap();
    assert_eq!((bounds.head.n, bounds.length, bounds.ended), (5, 5, false));
    let other = open(config(&server)).await;
    let mut early = Reader::resume(&other, &t, "0-0").await;
    assert_eq!(early.until(5).await, [1, 2, 3, 4, 5]);
    let finds = log.stats().audit_finds();
    let stats = log.stats();
    eventually("the audit looks", || stats.audit_finds() > finds).await;
    append(&log, &t, "6").await;
    assert_eq!(live.until(6).await, [6]);
    assert_eq!(early.until(6).await, [6]);
    let mut resumed = Reader::resume(&other, &t, "0-0").await;
    assert_eq!(resumed.until(6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_reader_of_a_flushed_topic_is_told_of_the_reset() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=5).await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    reader.until(5).await;
    server.words::<()>("FLUSHALL").await;
    assert_eq!(reader.gap().await.reason, Reason::Reset);
    fill(&log, &t, 1..=3).await;
    assert_eq!(reader.until(3).await, [1, 2, 3]);
    assert!(log.stats().audit_finds() > 0);
}

#[tokio::test]
async fn a_topic_flushed_and_grown_past_the_reader_is_a_reset_without_any_audit() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=5).await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    reader.until(5).await;
    server.words::<()>("FLUSHALL").await;
    // Number 6 belongs to the new log too: it must not be taken for the successor of the old number 5.
    fill(&log, &t, 1..=8).await;
    assert_eq!(reader.gap().await.reason, Reason::Reset);
    assert_eq!(reader.until(8).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    // The same for a reader that was away.
    let mut away = Reader::resume(&log, &t, "1000-3").await;
    assert_eq!(away.outcome, Outcome::Reset);
    assert_eq!(away.gap().await.reason, Reason::Reset);
    assert_eq!(away.until(8).await, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_reader_of_events_that_a_failover_lost_is_rewound() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=3).await;
    let mut behind = Reader::latest(&log, &t).await;
    let mut ahead = Reader::latest(&log, &t).await;
    let replica = Replica::of(&server).await;
    fill(&log, &t, 4..=6).await;
    ahead.until(6).await;
    let seen = ahead.wire();
    replica.promote(&server).await;
    // No node that got the acknowledgements is left.
    let fresh = open(config(&server)).await;
    let fourth = append(&fresh, &t, "another 4").await.position;
    assert_eq!(fourth.n, 4);
    assert!(fourth.to_string() > seen, "{fourth} sorts after {seen}");

    let gap = ahead.gap().await;
    assert_eq!((gap.reason, gap.missed), (Reason::Rewound, None));
    assert_eq!(ahead.events().await[0].data(), "another 4");
    // It comes back on another node, before and after the numbers have passed it.
    let other = open(config(&server)).await;
    for head in [4, 7] {
        if head == 7 {
            fill(&fresh, &t, 5..=7).await;
        }
        let mut back = Reader::resume(&other, &t, &seen).await;
        assert_eq!(back.outcome, Outcome::Rewound);
        assert_eq!(back.gap().await.reason, Reason::Rewound);
        assert_eq!(back.until(head).await, (4..=head).collect::<Vec<_>>());
    }
    // A reader that had not seen the lost events misses nothing.
    assert_eq!(behind.until(7).await, [4, 5, 6, 7]);
}

#[tokio::test]
async fn a_reader_ahead_of_a_failed_over_log_is_told_before_anything_is_published() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let t = topic("t");
    // Through another node, which is gone when it matters.
    let publisher = open(config(&server)).await;
    fill(&publisher, &t, 1..=3).await;
    let replica = Replica::of(&server).await;
    fill(&publisher, &t, 4..=6).await;
    publisher.shutdown().await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    reader.until(6).await;
    replica.promote(&server).await;
    let gap = reader.gap().await;
    assert_eq!((gap.reason, gap.resume.n), (Reason::Rewound, 3));
    append(&log, &t, "4").await;
    assert_eq!(reader.until(4).await, [4]);
}

#[tokio::test]
async fn a_failover_that_lost_nothing_is_no_gap() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=3).await;
    let mut live = Reader::latest(&log, &t).await;
    server.words::<()>("DEBUG CHANGE-REPL-ID").await;
    fill(&log, &t, 4..=6).await;
    assert_eq!(live.until(6).await, [4, 5, 6]);
    let mut resumed = Reader::resume(&log, &t, "0-0").await;
    assert_eq!(resumed.until(6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_hole_in_the_stream_is_announced_to_its_readers() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    let mut positions = Vec::new();
    for n in 1..=6 {
        positions.push(append(&log, &t, &n.to_string()).await.position);
    }
    let stream = key(&server, 'e').await;
    server.words::<()>(&format!("XDEL {stream} {} {}", positions[2], positions[5])).await;
    let other = open(config(&server)).await;
    let mut reader = Reader::resume(&other, &t, "0-0").await;
    assert_eq!(reader.until(2).await, [1, 2]);
    assert_eq!(reader.gap().await.missed, Some(1));
    assert_eq!(reader.until(5).await, [4, 5]);
    assert_eq!(reader.gap().await.missed, Some(1));
    append(&log, &t, "7").await;
    assert_eq!(reader.until(7).await, [7]);
}

#[tokio::test]
async fn a_reader_without_a_cursor_begins_where_it_asked() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=600).await;
    let seek = |seek| Reader::open(&log, &t, Origin::Seek(seek));
    for (from, first) in [
        (Seek::Earliest, 1),
        (Seek::Last(1), 600),
        (Seek::Last(100), 501),
        (Seek::Last(128), 473),
        (Seek::Last(129), 472),
        (Seek::Last(300), 301),
        (Seek::Last(599), 2),
        (Seek::Last(600), 1),
        (Seek::Last(u64::MAX), 1),
        (Seek::Since(0), 1),
    ] {
        assert_eq!(seek(from).await.events().await[0].position().n, first, "{from:?}");
    }
    for from in [Seek::Last(0), Seek::Since(u64::MAX)] {
        let sought = log.seek(&t, from).await.unwrap();
        assert_eq!((sought.position.n, sought.gap), (600, None), "{from:?}");
    }
    let none = log.seek(&topic("none"), Seek::Last(3)).await.unwrap();
    assert_eq!(none.position, event_log::Position::START);
}
