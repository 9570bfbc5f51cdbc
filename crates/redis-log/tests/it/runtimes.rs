//! Calls from several runtimes, of which some end before the log does.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, Limit, Log, Origin, Position, Topic};
use redis_log::RedisLog;
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::server::Server;
use crate::support::{DEADLINE, PAGE, Reader, append, config, event, eventually, open, topic};

/// A runtime of one thread, as a gateway has one for each core.
struct Core {
    runtime: Runtime,
}

impl Core {
    fn start() -> Self {
        Self {
            runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        }
    }

    /// Runs a task on this runtime, and waits for it from another.
    async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        timeout(DEADLINE, self.runtime.spawn(task)).await.expect("the task ends").unwrap()
    }

    /// Ends the runtime with everything that belongs to it.
    async fn end(self) {
        spawn_blocking(move || self.runtime.shutdown_timeout(Duration::from_secs(1)))
            .await
            .unwrap();
    }
}

/// The connections of the log, by their number on the server.
async fn connections(server: &Server) -> BTreeSet<u64> {
    let clients: String = server.words("CLIENT LIST").await;
    let asking = clients.lines().filter(|client| !client.contains("cmd=client|list"));
    asking.map(|client| client[3..client.find(' ').unwrap()].parse().unwrap()).collect()
}

/// Appends, reads and tails: everything that makes a connection or starts a task.
async fn use_log(log: Arc<RedisLog>, t: Topic) {
    let mut reader = Reader::open(&log, &t, Origin::Latest).await;
    let n = append(&log, &t, "x").await.position.n;
    assert_eq!(reader.until(n).await, [n]);
    let page = log.read(&t, Position::START, PAGE).await.unwrap();
    assert_eq!(page.events.len() as u64, n);
    log.bounds(&t).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_outlives_the_runtime_that_used_it_first() {
    let server = Server::start().await;
    // Without a check of the server, so that the first connections are made for the first caller.
    let log = RedisLog::new(config(&server));
    let stats = log.stats();
    eventually("the feed is up", || stats.connected()).await;
    let t = topic("t");

    let (first, second) = (Core::start(), Core::start());
    first.run(use_log(Arc::clone(&log), t.clone())).await;
    let before = connections(&server).await;
    assert!(before.len() >= 3, "the feed, the lane and the pool: {before:?}");
    first.end().await;

    for name in ["t", "u"] {
        second.run(use_log(Arc::clone(&log), topic(name))).await;
    }
    assert_eq!(connections(&server).await, before, "the same connections serve the second runtime");
    assert_eq!(stats.retries(), 0);
    second.end().await;
    use_log(log, t).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_shared_outlives_the_runtime_of_the_reader_that_began_it() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    let batch: Vec<Append> = (0..10).map(|_| event(&t, "x")).collect();
    log.append(batch).await;
    let read = || {
        let (log, t) = (Arc::clone(&log), t.clone());
        async move { log.read(&t, Position::START, Limit { events: 10, ..PAGE }).await }
    };
    let (first, second) = (Core::start(), Core::start());
    let reads = log.stats().reads();
    let pid = server.pid().await;
    pid.signal("-STOP");
    first.runtime.spawn(read());
    sleep(Duration::from_millis(100)).await;
    let shared = second.runtime.spawn(read());
    sleep(Duration::from_millis(100)).await;
    first.end().await;
    pid.signal("-CONT");
    let page = timeout(DEADLINE, shared).await.expect("the read ends").unwrap().unwrap();
    assert_eq!(page.events.len(), 10);
    // A reader that joined a read without events would ask once more.
    assert_eq!(log.stats().reads() - reads, 1, "one read for both");
    second.end().await;
}
