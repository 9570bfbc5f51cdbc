//! A real server: its rows, its crashes, and what it forgets.

use std::collections::BTreeMap;
use std::time::Duration;

use event_log::{Key, Limit, Log, Mark, MemoryLog, Position, Retention, Topic};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;
use crate::copier::{Copier, End};
use crate::source::Item;
use crate::stats::Stats;

mod cluster;

use cluster::Cluster;

/// The longest wait for anything.
const WAIT: Duration = Duration::from_secs(40);

struct Stage {
    cluster: Cluster,
    log: Arc<MemoryLog>,
    stats: Stats,
}

struct Relay(JoinHandle<End>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stage {
    /// A server with an outbox.
    async fn new() -> Self {
        let cluster = Cluster::start(&[]).await;
        cluster.make_outbox();
        let retention = Retention { events: 1_000_000, ..Retention::default() };
        Self { cluster, log: Arc::new(MemoryLog::new(retention)), stats: Stats::default() }
    }

    fn relay(&self, lines: &str) -> Relay {
        let config = config(&self.cluster, lines, "");
        let options = &config.sources["s"];
        let copier = Copier {
            log: Arc::<MemoryLog>::clone(&self.log),
            name: Key::new("s").unwrap(),
            kind: "postgres",
            node: "a".to_owned(),
            source: options.kind.source(None),
            copying: options.copying.clone(),
            stats: self.stats.clone(),
            leaving: CancellationToken::new(),
        };
        Relay(tokio::spawn(copier.run()))
    }

    /// The data of a topic, or the mark of an entry without.
    async fn now(&self, topic: &str) -> Vec<String> {
        let (topic, mut entries, mut after) =
            (Topic::new(topic).unwrap(), Vec::new(), Position::START);
        loop {
            let limit = Limit { events: 10_000, bytes: usize::MAX };
            let page = self.log.read(&topic, after, limit).await.unwrap();
            let Some(last) = page.events.last() else { return entries };
            after = last.position();
            entries.extend(page.events.iter().map(|event| match event.mark() {
                Mark::Open => event.data().to_owned(),
                mark => format!("{mark:?}"),
            }));
        }
    }

    /// Waits until a topic has so many entries, and returns them.
    async fn entries(&self, topic: &str, count: usize) -> Vec<String> {
        let waited = timeout(WAIT, async {
            loop {
                let entries = self.now(topic).await;
                if entries.len() >= count {
                    return entries;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        match waited.await {
            Ok(entries) => entries,
            Err(_) => {
                let snapshot = self.stats.snapshot("s", "postgres", "a");
                panic!(
                    "{topic} has {} entries, not {count}: {snapshot:?}",
                    self.now(topic).await.len()
                )
            }
        }
    }

    /// Reads a number from the server until it is as wanted.
    async fn until(&self, sql: &str, wanted: impl Fn(u64) -> bool) {
        let waited = timeout(WAIT, async {
            while !wanted(self.cluster.number(sql).await) {
                sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(waited.await.is_ok(), "{sql}: {}", self.cluster.number(sql).await);
    }
}

fn config(cluster: &Cluster, lines: &str, more: &str) -> Config {
    let url = cluster.url("postgres");
    let text = format!(
        "[source.s]\n{lines}\n[source.s.postgres]\nurl = '{url}'\ntls = 'off'\nslot = 'tailwater'\n\
         publication = 'tailwater'\n{more}"
    );
    Config::parse(&text).unwrap()
}

fn source(cluster: &Cluster, more: &str) -> Box<dyn Source> {
    config(cluster, "topic = '{topic}'\ngap-topic = 'gaps'", more).sources["s"].kind.source(None)
}

async fn refused(source: &mut Box<dyn Source>, after: Option<&Place>) -> String {
    match source.open(after).await {
        Err(Failure::Refused(reason)) => reason,
        Err(failure) => panic!("{failure:?}"),
        Ok(mut reading) => match reading.next().await {
            Err(Failure::Refused(reason)) => reason,
            other => panic!("{other:?}"),
        },
    }
}

/// Reads so many items beside places that are passed; their places rise.
async fn items(reading: &mut Box<dyn Reading>, count: usize) -> Vec<Item> {
    let (mut items, mut last) = (Vec::<Item>::new(), None);
    while items.len() < count {
        for item in timeout(WAIT, reading.next()).await.expect("an item in time").unwrap() {
            let order = item.place().order();
            if let Some(last) = last.filter(|last| *last >= order) {
                panic!("{order:?} follows {last:?}");
            }
            last = Some(order);
            if !matches!(item, Item::Passed(_)) {
                items.push(item);
            }
        }
    }
    items
}

fn data(item: &Item) -> &str {
    match item {
        Item::Event { event, .. } => &event.data,
        other => panic!("{other:?}"),
    }
}

fn reason(item: &Item) -> &str {
    match item {
        Item::Bad { reason, .. } | Item::Gap { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

/// Inserts rows with the data FROM to TO, each in a transaction of its own.
fn singly(from: u64, to: u64) -> String {
    format!(
        "DO $$ BEGIN FOR n IN {from}..{to} LOOP INSERT INTO outbox (topic, data) VALUES ('t', n); COMMIT; END LOOP; END $$"
    )
}

/// Inserts rows with the data FROM to TO in one transaction.
fn at_once(from: u64, to: u64) -> String {
    format!("INSERT INTO outbox (topic, data) SELECT 't', n FROM generate_series({from}, {to}) n")
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_the_order_of_their_commits_and_each_has_a_place() {
    let stage = Stage::new().await;
    let (mut early, mut late) = (stage.cluster.sql().await, stage.cluster.sql().await);
    for sql in ["BEGIN", "INSERT INTO outbox (topic, type, data) VALUES ('a', 'made', 'first')"] {
        early.query(sql).await.unwrap();
    }
    late.query("INSERT INTO outbox (topic, data) VALUES ('b', 'second')").await.unwrap();
    for sql in [
        "SAVEPOINT s",
        "INSERT INTO outbox (topic, data) VALUES ('a', 'never')",
        "SELECT pg_logical_emit_message(true, 'tailwater', 'never')",
        "ROLLBACK TO s",
        "SELECT pg_logical_emit_message(true, 'tailwater', '{\"topic\": \"m\", \"data\": {\"n\": 1}}')",
        "SELECT pg_logical_emit_message(true, 'other', 'x')",
        "DELETE FROM outbox",
        "COMMIT",
    ] {
        early.query(sql).await.unwrap();
    }
    for sql in ["BEGIN", "INSERT INTO outbox (topic, data) VALUES ('a', 'never')", "ROLLBACK"] {
        late.query(sql).await.unwrap();
    }
    late.query("SELECT pg_logical_emit_message(false, 'tailwater', 'x')").await.unwrap();
    stage
        .cluster
        .psql("COPY outbox (topic, data) FROM PROGRAM 'seq 500 | sed s/^/t,/' WITH (FORMAT csv)");

    let mut source = source(&stage.cluster, "messages = true");
    let mut reading = source.open(None).await.unwrap();
    let all = items(&mut reading, 504).await;
    assert_eq!((data(&all[0]), data(&all[1]), data(&all[2])), ("second", "first", "{\"n\": 1}"));
    let Item::Event { topic, event, .. } = &all[1] else { panic!() };
    assert_eq!((topic.as_str(), event.kind.as_ref().unwrap().as_str()), ("a", "made"));
    assert!(reason(&all[3]).contains("a message that is not transactional"), "{:?}", all[3]);
    assert_eq!(all[4..].iter().map(data).collect::<Vec<_>>(), numbers(1, 500));
    let [first, second] = [&all[4], &all[5]].map(|item| item.place().order());
    assert_eq!(first[..2], second[..2], "the rows of a transaction have one number");
    drop(reading);

    // Read again from every kind of place, also with other settings: the same record has the same place.
    let is_message = |item: &Item| [&all[2], &all[3]].iter().any(|m| m.place() == item.place());
    for (index, more) in [(0, ""), (2, "messages = true"), (3, ""), (100, "messages = true")] {
        let mut source = self::source(&stage.cluster, more);
        let mut reading = open(&mut source, Some(all[index].place())).await;
        let left = all[index + 1..].iter().filter(|item| !more.is_empty() || !is_message(item));
        let left: Vec<_> = left.map(Item::place).collect();
        let again = items(&mut reading, left.len()).await;
        assert_eq!(again.iter().map(Item::place).collect::<Vec<_>>(), left);
    }
}

/// Opens a source as soon as the server has noticed that its last reader is gone.
async fn open(source: &mut Box<dyn Source>, after: Option<&Place>) -> Box<dyn Reading> {
    let opened = timeout(WAIT, async {
        loop {
            match source.open(after).await {
                Ok(reading) => return reading,
                Err(Failure::Away(_)) => sleep(Duration::from_millis(50)).await,
                Err(failure) => panic!("{failure:?}"),
            }
        }
    });
    opened.await.expect("the slot is free in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_in_the_middle_of_a_transaction() {
    let stage = Stage::new().await;
    let mut sql = stage.cluster.sql().await;
    for step in [
        "BEGIN",
        &at_once(1, 5000),
        "INSERT INTO outbox (topic, data) VALUES ('a b', 'x')",
        &at_once(5001, 10_000),
        "COMMIT",
    ] {
        sql.query(step).await.unwrap();
    }
    // The row without a topic stops it after exactly 5,000.
    let mut relay = stage.relay("topic = '{topic}'\ngap-topic = 'gaps'");
    let end = timeout(WAIT, &mut relay.0).await.expect("it stops in time");
    assert_eq!((end.unwrap(), stage.now("t").await.len()), (End::Stopped, 5000));
    let relay = stage.relay("topic = '{topic}'\ngap-topic = 'gaps'\non-error = 'skip'");
    stage.entries("t", 6000).await;
    drop(relay);
    let relay = stage.relay("topic = '{topic}'\ngap-topic = 'gaps'\non-error = 'skip'");
    assert_eq!(stage.entries("t", 10_000).await, numbers(1, 10_000));
    sql.query(&at_once(10_001, 10_001)).await.unwrap();
    assert_eq!(stage.entries("t", 10_001).await, numbers(1, 10_001));
    drop(relay);
    let _relay = stage.relay("topic = '{topic}'\ngap-topic = 'gaps'\non-error = 'skip'");
    sql.query(&at_once(10_002, 10_002)).await.unwrap();
    assert_eq!(stage.entries("t", 10_002).await, numbers(1, 10_002));
    assert_eq!(stage.now("gaps").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_in_an_open_transaction_doubles_nothing() {
    let mut stage = Stage::new().await;
    let relay = stage.relay("topic = 't'");
    let mut open = stage.cluster.sql().await;
    for step in ["CREATE TABLE other (n int)", "BEGIN", "INSERT INTO other VALUES (1)"] {
        open.query(step).await.unwrap();
    }
    let mut sql = stage.cluster.sql().await;
    sql.query(&singly(1, 1000)).await.unwrap();
    stage.entries("t", 1000).await;
    // Everything is confirmed, and a checkpoint of the server follows.
    let unconfirmed = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) FROM pg_replication_slots";
    stage.until(unconfirmed, |bytes| bytes < 10_000).await;
    sql.query("CHECKPOINT").await.unwrap();
    drop(relay);
    stage.cluster.crash().await;
    assert!(
        stage.cluster.number(unconfirmed).await > 10_000,
        "it has forgotten what was confirmed"
    );
    let _relay = stage.relay("topic = 't'");
    stage.cluster.sql().await.query(&singly(1001, 1010)).await.unwrap();
    assert_eq!(stage.entries("t", 1010).await, numbers(1, 1010));
    // This one while the relay reads.
    stage.cluster.crash().await;
    stage.cluster.sql().await.query(&singly(1011, 1020)).await.unwrap();
    assert_eq!(stage.entries("t", 1020).await, numbers(1, 1020));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_outbox_frees_the_log_and_is_no_gap() {
    let stage = Stage::new().await;
    let mut sql = stage.cluster.sql().await;
    let relay = stage.relay("topic = 't'");
    sql.query(&singly(1, 3)).await.unwrap();
    stage.entries("t", 3).await;
    for step in [
        "CREATE TABLE other (t text)",
        "INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 20000)",
    ] {
        sql.query(step).await.unwrap();
    }
    let unconfirmed = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) FROM pg_replication_slots";
    stage.until(unconfirmed, |bytes| bytes < 1_000_000).await;
    drop(relay);
    // The last event is long before what the slot has forgotten.
    let _relay = stage.relay("topic = 't'");
    sql.query(&singly(4, 4)).await.unwrap();
    assert_eq!(stage.entries("t", 4).await, numbers(1, 4));
    // The transactions of other tables alone were passed over, seldom: a place a second.
    assert_eq!(stage.stats.snapshot("s", "postgres", "a").gaps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_has_to_mend_is_said_and_what_is_lost_is_a_gap() {
    let stage = Stage::new().await;
    let cluster = &stage.cluster;
    let mut sql = cluster.sql().await;
    sql.query(&singly(1, 2)).await.unwrap();
    let mut source = source(cluster, "");
    let mut reading = source.open(None).await.unwrap();
    let place = items(&mut reading, 2).await[1].place().clone();
    // The slot is in use.
    assert!(matches!(source.open(None).await, Err(Failure::Away(_))));
    drop(reading);

    sql.query("CREATE TABLE more (data text); ALTER PUBLICATION tailwater ADD TABLE more")
        .await
        .unwrap();
    let reason = refused(&mut source, Some(&place)).await;
    assert_eq!(reason, "publication tailwater has table public.more, which is not among tables");
    sql.query("DROP TABLE more; ALTER TABLE outbox RENAME TO old; CREATE TABLE outbox (LIKE old)")
        .await
        .unwrap();
    let reason = refused(&mut source, Some(&place)).await;
    assert!(reason.contains("table outbox is not in publication tailwater"), "{reason}");
    sql.query("DROP TABLE outbox; ALTER TABLE old RENAME TO outbox").await.unwrap();

    let drop_slot = "SELECT pg_drop_replication_slot('tailwater')";
    let make_slot = "SELECT pg_create_logical_replication_slot('tailwater', 'pgoutput')";
    stage.until("SELECT count(*) FROM pg_replication_slots WHERE active", |count| count == 0).await;
    sql.query(drop_slot).await.unwrap();
    let reason = refused(&mut source, Some(&place)).await;
    assert!(
        reason.contains("slot tailwater does not exist") && reason.contains(make_slot),
        "{reason}"
    );
    sql.query(&singly(3, 3)).await.unwrap();
    sql.query(make_slot).await.unwrap();
    sql.query(&singly(4, 4)).await.unwrap();
    let mut reading = source.open(Some(&place)).await.unwrap();
    let gap = items(&mut reading, 2).await;
    assert!(self::reason(&gap[0]).contains("it was made anew"), "{gap:?}");
    assert_eq!((data(&gap[1]), gap[0].place().era), ("4", 0));
    drop(reading);

    sql.query("DROP PUBLICATION tailwater").await.unwrap();
    let reason = refused(&mut source, Some(gap[1].place())).await;
    assert!(reason.contains("publication tailwater does not exist"), "{reason}");
    // A row of the time without a publication: the slot reads it with the catalog of that time.
    sql.query(&singly(5, 5)).await.unwrap();
    sql.query("CREATE PUBLICATION tailwater FOR TABLE outbox WITH (publish = 'insert')")
        .await
        .unwrap();
    let mut reading = open(&mut source, Some(gap[1].place())).await;
    let failure = loop {
        match timeout(WAIT, reading.next()).await.unwrap() {
            Ok(items) => {
                assert!(items.iter().all(|item| matches!(item, Item::Passed(_))), "{items:?}")
            }
            Err(failure) => break failure,
        }
    };
    let Failure::Refused(reason) = failure else { panic!("{failure:?}") };
    assert!(reason.contains("A publication must be older than the slot"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_is_refused() {
    let cluster = Cluster::start(&["max_slot_wal_keep_size=1MB"]).await;
    cluster.make_outbox();
    let mut sql = cluster.sql().await;
    sql.query("CREATE TABLE other (t text); INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 8000)")
        .await
        .unwrap();
    sql.query("CHECKPOINT").await.unwrap();
    let reason = refused(&mut source(&cluster, ""), None).await;
    assert!(reason.contains("slot tailwater is lost"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_new_row_is_refused_and_deletes_pass() {
    let stage = Stage::new().await;
    let cluster = &stage.cluster;
    let mut sql = cluster.sql().await;
    sql.query("ALTER PUBLICATION tailwater SET (publish = 'insert, update, delete, truncate')")
        .await
        .unwrap();
    sql.query(&at_once(1, 1)).await.unwrap();
    sql.query("UPDATE outbox SET data = '2'").await.unwrap();
    sql.query("DELETE FROM outbox").await.unwrap();
    sql.query("TRUNCATE outbox").await.unwrap();
    sql.query("INSERT INTO outbox (topic, data) VALUES ('t', repeat('y', 3000000)), ('t', '3')")
        .await
        .unwrap();
    let mut source = source(cluster, "");
    let mut reading = source.open(None).await.unwrap();
    let all = items(&mut reading, 5).await;
    assert_eq!((data(&all[0]), data(&all[4])), ("1", "3"));
    assert!(reason(&all[1]).contains("a row was changed in outbox"), "{all:?}");
    assert!(reason(&all[2]).contains("all rows were deleted in outbox"), "{all:?}");
    let Item::Bad { excerpt, reason: why, .. } = &all[3] else { panic!() };
    assert!(why.starts_with("a row has 30000") && why.ends_with("the limit is 1572864"), "{why}");
    assert!(excerpt.len() < 5000 && excerpt.ends_with("yyy"), "{excerpt}");
    drop(reading);
    let mut source = self::source(cluster, "deletes = 'refuse'");
    let mut reading = open(&mut source, Some(all[1].place())).await;
    let all = items(&mut reading, 1).await;
    assert!(reason(&all[0]).contains("a row was deleted in outbox"), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_answered_while_the_copier_is_busy() {
    let cluster = Cluster::start(&["wal_sender_timeout=2s"]).await;
    cluster.make_outbox();
    let mut sql = cluster.sql().await;
    sql.query(&at_once(1, 100_000)).await.unwrap();
    let mut source = source(&cluster, "");
    let mut reading = source.open(None).await.unwrap();
    let first = items(&mut reading, 1).await;
    // Three times as long as the server waits.
    sleep(Duration::from_secs(6)).await;
    let rest = items(&mut reading, 100_000 - first.len()).await;
    assert_eq!(data(rest.last().unwrap()), "100000");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_is_let_in_by_password_and_checks_the_certificate() {
    let cluster = Cluster::start(&[]).await;
    cluster.make_outbox();
    let mut sql = cluster.sql().await;
    sql.query("CREATE ROLE relay LOGIN REPLICATION PASSWORD 'geheim'").await.unwrap();
    sql.query(&at_once(1, 1)).await.unwrap();
    let password = cluster.file("password", "geheim\n");
    let wrong = cluster.file("wrong", "falsch");
    let ca = cluster.use_tls();
    let source = |tls: &str, password: &str, ca: &str| {
        let files = BTreeMap::from([("password-file", password), ("ca-file", ca)]);
        let files = files.iter().filter(|(_, file)| !file.is_empty());
        let files: String = files.map(|(name, file)| format!("{name} = '{file}'\n")).collect();
        let text = format!(
            "[source.s]\ntopic = 't'\n[source.s.postgres]\nurl = '{}'\ntls = '{tls}'\n{files}slot = 'tailwater'\n\
             publication = 'tailwater'",
            cluster.url("relay")
        );
        Config::parse(&text).unwrap().sources["s"].kind.source(None)
    };
    for (tls, password, ca, reason) in [
        ("require", "", &*ca, "the server asks for a password; set password-file"),
        ("prefer", &wrong, &ca, "28P01: password authentication failed"),
        ("require", &password, "", "TLS: invalid peer certificate"),
    ] {
        let refused = refused(&mut source(tls, password, ca), None).await;
        assert!(refused.contains(reason), "{refused}");
        assert!(!refused.contains("falsch"), "{refused}");
    }
    for (tls, ca) in [("require", &*ca), ("prefer", &ca), ("off", "")] {
        let mut source = source(tls, &password, ca);
        let mut reading = open(&mut source, None).await;
        assert_eq!(data(&items(&mut reading, 1).await[0]), "1", "{tls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_copy_goes_on_and_what_it_lacks_is_a_gap() {
    let mut old = Cluster::start(&[]).await;
    old.make_outbox();
    old.sql().await.query(&singly(1, 3)).await.unwrap();
    let mut source = source(&old, "");
    let mut reading = source.open(None).await.unwrap();
    let copied = items(&mut reading, 3).await[2].place().clone();
    drop(reading);
    old.stop().await;
    // Its slot is copied too, as one is that is synchronised.
    let new = old.promoted_copy().await;
    new.sql().await.query(&singly(4, 5)).await.unwrap();

    let mut promoted = self::source(&new, "");
    let mut reading = open(&mut promoted, Some(&copied)).await;
    let all = items(&mut reading, 2).await;
    assert_eq!(all.iter().map(data).collect::<Vec<_>>(), numbers(4, 5));
    let place = all[0].place();
    assert_eq!((place.era, place.text.ends_with("/2")), (0, true), "{place:?}");
    drop(reading);

    // The old one goes on by itself, and the copy with it.
    old.restart().await;
    old.sql().await.query(&singly(14, 15)).await.unwrap();
    let mut reading = open(&mut source, Some(&copied)).await;
    let ahead = items(&mut reading, 2).await[1].place().clone();
    let mut reading = open(&mut promoted, Some(&ahead)).await;
    let all = items(&mut reading, 3).await;
    assert!(reason(&all[0]).contains("of timeline 1, of which this server has only"), "{all:?}");
    assert_eq!(all[1..].iter().map(data).collect::<Vec<_>>(), numbers(4, 5));
    assert_eq!(all[0].place().era, 1);
    let reason = refused(&mut source, Some(all[1].place())).await;
    assert!(reason.contains("the copy was made of its successor on timeline 2"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_does_not_wait_for_the_copy() {
    let mut stage = Stage::new().await;
    let relay = stage.relay("topic = 't'");
    stage.cluster.sql().await.query(&singly(1, 1000)).await.unwrap();
    stage.entries("t", 1000).await;
    stage.cluster.stop().await;
    drop(relay);
    // Nor for one that stands still.
    stage.cluster.restart().await;
    let mut source = source(&stage.cluster, "");
    let mut reading = open(&mut source, None).await;
    stage.cluster.sql().await.query(&at_once(1, 100_000)).await.unwrap();
    items(&mut reading, 1).await;
    stage.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_forgets_only_what_a_checkpoint_has() {
    let stage = Stage::new().await;
    let forgotten = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots";
    let before = stage.cluster.number(forgotten).await;
    stage.cluster.sql().await.query(&singly(1, 10)).await.unwrap();
    let mut source = source(&stage.cluster, "");
    let mut reading = source.open(None).await.unwrap();
    let last = items(&mut reading, 10).await[9].place().clone();
    reading.stored(&last).await.unwrap();
    // Three signs of life later.
    sleep(Duration::from_millis(1600)).await;
    assert_eq!(stage.cluster.number(forgotten).await, before, "it is stored, but in no checkpoint");
    reading.checkpointed(&last);
    stage.until(forgotten, |now| now == last.major).await;
}
