//! The members of topics over several nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use event_log::Topic;
use metrics::Registry;
use presence::{MemberId, Membership, News, Presence, Watcher};
use redis_log::RedisLog;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::deployment::Cluster;
use crate::server::Server;
use crate::support::{config, config_at, open};

/// A node that reports for as long as it lives.
struct Node {
    presence: Presence,
    held: BTreeMap<String, Membership>,
    reports: JoinHandle<()>,
}

/// The grace of a retry of two seconds.
const GRACE: Duration = Duration::from_secs(6);
/// Members of each node.
const EACH: usize = 40;

impl Node {
    fn start(log: &Arc<RedisLog>) -> Self {
        let presence = Presence::new(log.presence(GRACE), GRACE, &Registry::new());
        let reporting = presence.clone();
        let reports = tokio::spawn(async move { reporting.run().await });
        Self { presence, held: BTreeMap::new(), reports }
    }

    fn join(&mut self, name: &str) {
        let info = Arc::from(format!("{{\"name\":\"{name}\"}}"));
        let stream = self.presence.join([room()], MemberId::of(&[name]), &info);
        self.held.insert(name.to_owned(), stream);
    }

    /// Stops without a word, as kill -9 does, and returns the names of its members.
    fn die(self) -> Vec<String> {
        self.reports.abort();
        let names = self.held.keys().cloned().collect();
        std::mem::forget(self.held);
        names
    }

    async fn list(&self) -> Vec<String> {
        let view = self.presence.view(&room()).await.unwrap();
        assert_eq!(view.count, view.members.len() as u64);
        let mut ids: Vec<_> = view.members.iter().map(|member| member.id.to_string()).collect();
        ids.sort();
        ids
    }
}

/// The news that a watcher has had.
#[derive(Debug, Default)]
struct Heard {
    lists: usize,
    count: u64,
    joined: BTreeMap<String, usize>,
    left: BTreeMap<String, usize>,
}

fn room() -> Topic {
    Topic::new("room/1").unwrap()
}

fn ids<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut ids: Vec<_> = names.into_iter().map(|name| MemberId::of(&[name]).to_string()).collect();
    ids.sort();
    ids
}

/// Listens until there has been no news for three seconds.
async fn listen(watcher: &mut Watcher, heard: &mut Heard) {
    let quiet = Duration::from_secs(3);
    while let Ok(news) = timeout(quiet, poll_fn(|cx| watcher.poll_next(cx))).await {
        match news {
            News::Present(_, view) => {
                heard.lists += 1;
                heard.count = view.count;
            }
            News::Changed(_, change) => {
                assert_eq!(change.joins.len() as u64, change.joined, "all are named");
                assert_eq!(change.leaves.len() as u64, change.left, "all are named");
                heard.count = change.count;
                for member in &change.joins {
                    *heard.joined.entry(member.id.to_string()).or_default() += 1;
                }
                for member in &change.leaves {
                    *heard.left.entry(member.id.to_string()).or_default() += 1;
                }
            }
        }
    }
}

async fn until(node: &Node, wanted: &[String]) -> Duration {
    let begun = Instant::now();
    while node.list().await != wanted {
        assert!(begun.elapsed() < Duration::from_secs(60), "the list does not become right");
        sleep(Duration::from_millis(200)).await;
    }
    begun.elapsed()
}

async fn a_dead_node_leaves_once(logs: [Arc<RedisLog>; 3]) {
    let [mut one, mut two, mut dying] = logs.each_ref().map(Node::start);
    // In groups whose members a change still names.
    for group in 0..EACH / 10 {
        for number in 0..10 {
            let number = group * 10 + number;
            one.join(&format!("one {number}"));
            two.join(&format!("two {number}"));
            dying.join(&format!("dying {number}"));
        }
        sleep(Duration::from_secs(1)).await;
    }
    // A member that is on two nodes.
    one.join("both");
    dying.join("both");
    let all: Vec<_> =
        [&one, &two, &dying].iter().flat_map(|node| node.held.keys().cloned()).collect();
    let mut all = ids(&all);
    all.dedup();
    until(&one, &all).await;
    let mut watcher = two.presence.watch(&[room()]).await;
    let mut heard = Heard::default();
    listen(&mut watcher, &mut heard).await;
    assert_eq!((heard.lists, heard.count), (1, all.len() as u64));
    assert!(heard.joined.is_empty() && heard.left.is_empty(), "{heard:?}");

    let listening = tokio::spawn(async move {
        let ended = Instant::now() + Duration::from_secs(14);
        while Instant::now() < ended {
            listen(&mut watcher, &mut heard).await;
        }
        heard
    });
    let killed = Instant::now();
    let lost = dying.die();
    // Half of its clients come back elsewhere, within the longest retry.
    sleep(Duration::from_secs(3)).await;
    let (back, gone) = lost.split_at(lost.len() / 2);
    for name in back {
        two.join(name);
    }
    let gone: Vec<_> = gone.iter().filter(|name| *name != "both").collect();
    let left: BTreeSet<_> = [&one, &two].iter().flat_map(|node| node.held.keys()).collect();
    let left = ids(left);
    until(&one, &left).await;
    println!("the list was right {:?} after the end of a node", killed.elapsed());
    let heard = listening.await.unwrap();
    assert_eq!(heard.lists, 1, "no change was missed");
    assert!(heard.joined.is_empty(), "those who came back do not flicker: {heard:?}");
    let once: BTreeMap<_, _> = ids(gone).into_iter().map(|id| (id, 1)).collect();
    assert_eq!(heard.left, once);
    assert_eq!(one.list().await, two.list().await);
    one.die();
    two.die();
}

#[tokio::test]
async fn the_members_of_a_dead_node_leave_once() {
    let server = Server::start().await;
    let logs =
        [open(config(&server)).await, open(config(&server)).await, open(config(&server)).await];
    a_dead_node_leaves_once(logs).await;
}

#[tokio::test]
async fn the_members_of_a_dead_node_leave_once_on_a_cluster() {
    let cluster = Cluster::start().await;
    let url = cluster.url();
    let logs =
        [open(config_at(&url)).await, open(config_at(&url)).await, open(config_at(&url)).await];
    a_dead_node_leaves_once(logs).await;
}

#[tokio::test]
async fn members_are_told_again_after_redis_has_lost_them_and_nothing_is_left_behind() {
    let server = Server::start().await;
    let (log, other) = (open(config(&server)).await, open(config(&server)).await);
    let (mut one, two) = (Node::start(&log), Node::start(&other));
    for name in ["ann", "bob"] {
        one.join(name);
    }
    let all = ids(one.held.keys());
    until(&two, &all).await;
    let mut watcher = two.presence.watch(&[room()]).await;
    let mut heard = Heard::default();
    listen(&mut watcher, &mut heard).await;
    server.words::<()>("FLUSHALL").await;
    until(&two, &all).await;
    listen(&mut watcher, &mut heard).await;
    assert_eq!(heard.count, 2, "{heard:?}");
    one.held.clear();
    until(&two, &[]).await;
    let counts = two.presence.counts("room", &|_| true).await.unwrap();
    assert_eq!((counts.topics.len(), counts.more), (0, false));
    one.join("cid");
    until(&two, &ids([&"cid".to_owned()])).await;
    let counts = two.presence.counts("room", &|_| true).await.unwrap();
    assert_eq!(counts.topics, [(room(), 1)]);
    one.die();
    two.die();
}

#[tokio::test]
async fn nobody_leaves_because_redis_was_away_longer_than_a_lease() {
    let server = Server::start().await;
    let (log, other) = (open(config(&server)).await, open(config(&server)).await);
    let (mut one, mut two) = (Node::start(&log), Node::start(&other));
    one.join("ann");
    two.join("bob");
    let all = ids([&"ann".to_owned(), &"bob".to_owned()]);
    until(&two, &all).await;
    let mut watcher = two.presence.watch(&[room()]).await;
    let mut heard = Heard::default();
    listen(&mut watcher, &mut heard).await;
    let pid = server.pid().await;
    pid.signal("-STOP");
    sleep(GRACE * 2).await;
    pid.signal("-CONT");
    listen(&mut watcher, &mut heard).await;
    assert!(heard.left.is_empty() && heard.joined.is_empty(), "{heard:?}");
    until(&two, &all).await;
    one.die();
    two.die();
}
