//! Slots move between the primaries of a cluster while publishers and subscribers continue.

use std::time::Duration;

use event_log::{AppendError, Log};
use redis::Value;
use tokio::time::{Instant, sleep};

use crate::deployment::{Cluster, until};
use crate::server::Server;
use crate::support::{
    DEADLINE, Reader, append, audited_at, config_at, event, fill, keyed, open, topic, try_append,
};
use crate::traffic::{Traffic, lasting};

/// The slot of a topic's keys.
async fn slot_of(node: &Server, stream: &str) -> u16 {
    node.words(&format!("CLUSTER KEYSLOT {stream}")).await
}

/// The streams on a node.
async fn streams(node: &Server) -> Vec<String> {
    node.words("KEYS e:*").await
}

async fn id(node: &Server) -> String {
    node.words("CLUSTER MYID").await
}

/// A slot that moves key by key, as tools move it on servers without a command for it.
struct Move<'a> {
    slot: u16,
    from: &'a Server,
    to: &'a Server,
}

impl<'a> Move<'a> {
    async fn begin(slot: u16, from: &'a Server, to: &'a Server) -> Self {
        let (from_id, to_id) = (id(from).await, id(to).await);
        to.words::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
        from.words::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
        Self { slot, from, to }
    }

    async fn key(&self, key: &str) {
        let command = format!("MIGRATE {} {key} 0 5000", self.to.host_port());
        // A key that has expired is gone.
        self.from.words::<Value>(&command).await;
    }

    /// Moves all other keys, one at a time, so that topics are on either node or divided.
    async fn finish(self) {
        let next = format!("CLUSTER GETKEYSINSLOT {} 1", self.slot);
        while let Some(key) = self.from.words::<Vec<String>>(&next).await.first() {
            self.key(key).await;
            sleep(Duration::from_millis(10)).await;
        }
        let to = id(self.to).await;
        for node in [self.to, self.from] {
            node.words::<()>(&format!("CLUSTER SETSLOT {} NODE {to}", self.slot)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_key_by_key_lose_and_double_nothing() {
    let cluster = Cluster::start().await;
    let mut config = lasting(config_at(&cluster.url()));
    // A short life of idempotency keys, because each of them must be moved.
    config.retention.key = Duration::from_millis(300);
    let traffic = Traffic::start(config, 12).await;
    let mut moved = 0;
    for stream in streams(&cluster.nodes[0]).await {
        let slot = slot_of(&cluster.nodes[0], &stream).await;
        Move::begin(slot, &cluster.nodes[0], &cluster.nodes[1]).await.finish().await;
        moved += 1;
    }
    assert!(moved > 1);
    traffic.goes_on().await;
    let outcome = traffic.judge().await;
    assert!(outcome.gaps.is_empty(), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_at_once_lose_and_double_nothing() {
    let cluster = Cluster::start().await;
    let target = id(&cluster.nodes[1]).await;
    let commands: Vec<Value> = cluster.nodes[0].words("COMMAND INFO CLUSTER|MIGRATESLOTS").await;
    if matches!(commands[..], [Value::Nil]) {
        eprintln!("this server has no command that moves slots");
        return;
    }
    let traffic = Traffic::start(lasting(config_at(&cluster.url())), 12).await;
    let streams = streams(&cluster.nodes[0]).await;
    assert!(streams.len() > 1);
    for stream in &streams {
        let slot = slot_of(&cluster.nodes[0], stream).await;
        let command = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {target}");
        cluster.nodes[0].words::<()>(&command).await;
        until(&cluster.nodes[1], "KEYS e:*", |keys: &Vec<String>| keys.contains(stream)).await;
    }
    traffic.goes_on().await;
    let outcome = traffic.judge().await;
    assert!(outcome.gaps.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn a_divided_topic_is_read_whole_and_written_once_it_is_in_one_place() {
    let cluster = Cluster::start().await;
    let (source, target) = (&cluster.nodes[0], &cluster.nodes[1]);
    let log = open(audited_at(&cluster.url())).await;
    let stats = log.stats();
    // Two topics of one partition on the first node: of one the head moves first, of the other the
    // stream. A third topic does not exist.
    let mut of_partition: std::collections::HashMap<String, Vec<event_log::Topic>> =
        std::collections::HashMap::new();
    let [first, second, absent] = loop {
        let t = topic(&format!("t{}", of_partition.values().flatten().count()));
        append(&log, &t, "1").await;
        let stream = format!("*:{t}");
        let found: Vec<String> = source.words(&format!("KEYS e{stream}")).await;
        let tag = found.first().map_or("elsewhere", |key| &key[..key.find('}').unwrap()]);
        let same = of_partition.entry(tag.to_owned()).or_default();
        same.push(t);
        if tag != "elsewhere" && same.len() == 3 {
            break <[_; 3]>::try_from(std::mem::take(same)).unwrap();
        }
    };
    let key = async |kind: char, t: &event_log::Topic| -> String {
        source.words::<Vec<String>>(&format!("KEYS {kind}:*:{t}")).await.remove(0)
    };
    for kind in ['e', 'h'] {
        source.words::<()>(&format!("DEL {}", key(kind, &absent).await)).await;
    }
    let mut readers = Vec::new();
    for t in [&first, &second] {
        fill(&log, t, 2..=5).await;
        readers.push(Reader::latest(&log, t).await);
    }
    let slot = slot_of(source, &key('e', &first).await).await;
    let finds = stats.audit_finds();
    let (second_head, first_stream) = (key('h', &second).await, key('e', &first).await);
    let on_its_way = Move::begin(slot, source, target).await;
    on_its_way.key(&key('h', &first).await).await;
    on_its_way.key(&key('e', &second).await).await;
    for t in [&first, &second] {
        let bounds = log.bounds(t).await.unwrap().unwrap();
        assert_eq!((bounds.head.n, bounds.length), (5, 5));
        let mut reader = Reader::resume(&log, t, "0-0").await;
        assert_eq!(reader.until(5).await, [1, 2, 3, 4, 5]);
        let fresh = open(config_at(&cluster.url())).await;
        let mut reader = Reader::resume(&fresh, t, "0-0").await;
        assert_eq!(reader.until(5).await, [1, 2, 3, 4, 5]);
        let held = try_append(&log, event(t, "6")).await;
        assert!(matches!(held, Err(AppendError::Unavailable(_))), "{held:?}");
    }
    assert!(log.bounds(&absent).await.unwrap().is_none());
    // Long enough for some audits.
    sleep(Duration::from_millis(400)).await;
    assert_eq!(stats.audit_finds(), finds);
    assert_eq!(stats.errors(redis_log::Op::Audit), 0);

    on_its_way.key(&second_head).await;
    on_its_way.key(&first_stream).await;
    for (t, reader) in [&first, &second].into_iter().zip(&mut readers) {
        append(&log, t, "6").await;
        assert_eq!(reader.until(6).await, [6]);
        let held = try_append(&log, keyed(t, "7", "k")).await;
        assert!(matches!(held, Err(AppendError::Unavailable(_))), "{held:?}");
    }
    on_its_way.finish().await;
    for (t, reader) in [&first, &second].into_iter().zip(&mut readers) {
        try_append(&log, keyed(t, "7", "k")).await.unwrap();
        assert_eq!(reader.until(7).await, [7]);
    }
}

#[tokio::test]
async fn a_head_on_its_way_is_raised_on_a_server_without_the_script() {
    let cluster = Cluster::start().await;
    let (source, target) = (&cluster.nodes[0], &cluster.nodes[1]);
    let log = open(config_at(&cluster.url())).await;
    let mut found: Vec<String> = Vec::new();
    let mut t = topic("t");
    for i in 0.. {
        t = topic(&format!("t{i}"));
        fill(&log, &t, 1..=3).await;
        found = source.words(&format!("KEYS [eh]:*:{t}")).await;
        if !found.is_empty() {
            break;
        }
    }
    // The log gets acknowledgements for 4 to 6, which the server then loses.
    let mut lagging = Vec::new();
    for key in &found {
        lagging.push((key, dump(source, key).await));
    }
    fill(&log, &t, 4..=6).await;
    for (key, bytes) in lagging {
        let restore = redis::cmd("RESTORE").arg(key).arg(0).arg(bytes).arg("REPLACE").take();
        source.run::<()>(&restore).await;
    }
    assert_eq!(log.bounds(&t).await.unwrap().unwrap().head.n, 3);

    let on_its_way = Move::begin(slot_of(source, &found[0]).await, source, target).await;
    for key in &found {
        on_its_way.key(key).await;
    }
    target.words::<()>("SCRIPT FLUSH").await;
    // A feed that reconnects makes the log compare its witnesses.
    source.words::<()>("CLIENT KILL TYPE normal").await;
    let deadline = Instant::now() + DEADLINE;
    while log.bounds(&t).await.unwrap().unwrap().head.n != 6 {
        assert!(Instant::now() < deadline, "the head is not raised");
        sleep(Duration::from_millis(20)).await;
    }
    on_its_way.finish().await;
}

async fn dump(node: &Server, key: &str) -> Vec<u8> {
    node.words(&format!("DUMP {key}")).await
}
