//! Helpers that many tests use.

use std::sync::Arc;
use std::time::Duration;

use event_log::{
    Append, AppendError, Cursor, Event, Gap, Key, Limit, Log, NewEvent, Origin, Outcome, Position,
    Receipt, Step, Topic,
};
use redis_log::{Config, RedisLog};
use tokio::time::{Instant, sleep, timeout};

use crate::server::Server;

/// Longest wait of a test for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const PAGE: Limit = Limit { events: 256, bytes: 1024 * 1024 };

/// A configuration in which only the feed can bring events soon.
pub(crate) fn config(server: &Server) -> Config {
    config_at(&server.url())
}

pub(crate) fn config_at(url: &str) -> Config {
    Config {
        audit: Duration::from_secs(3600),
        ping: Duration::from_millis(200),
        retry: Duration::from_millis(500),
        poll: Duration::from_millis(300),
        ..Config::new(url.parse().unwrap())
    }
}

/// A configuration that audits ten times a second.
pub(crate) fn audited(server: &Server) -> Config {
    audited_at(&server.url())
}

pub(crate) fn audited_at(url: &str) -> Config {
    Config { audit: Duration::from_millis(100), ..config_at(url) }
}

pub(crate) async fn open(config: Config) -> Arc<RedisLog> {
    let log = RedisLog::connect(config).await.unwrap();
    let stats = log.stats();
    eventually("the feed is up", || stats.connected()).await;
    log
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

pub(crate) fn event(topic: &Topic, data: &str) -> Append {
    let event = NewEvent { data: data.into(), ..NewEvent::default() };
    Append::new(topic.clone(), event)
}

pub(crate) fn keyed(topic: &Topic, data: &str, key: &str) -> Append {
    event(topic, data).keyed(Key::new(key).unwrap())
}

pub(crate) async fn try_append(log: &RedisLog, append: Append) -> Result<Receipt, AppendError> {
    let results = log.append(vec![append]).await;
    assert_eq!(results.len(), 1);
    results.into_iter().next().unwrap()
}

pub(crate) async fn append(log: &RedisLog, topic: &Topic, data: &str) -> Receipt {
    try_append(log, event(topic, data)).await.unwrap()
}

/// Appends events whose data are their expected numbers.
pub(crate) async fn fill(log: &RedisLog, topic: &Topic, numbers: std::ops::RangeInclusive<u64>) {
    let batch: Vec<_> = numbers.map(|n| event(topic, &n.to_string())).collect();
    for result in log.append(batch).await {
        result.unwrap();
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within the deadline: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A subscriber of one topic.
pub(crate) struct Reader {
    cursor: Cursor,
    pub(crate) outcome: Outcome,
}

impl Reader {
    pub(crate) async fn open(log: &Arc<RedisLog>, topic: &Topic, origin: Origin) -> Self {
        let log: Arc<dyn Log> = Arc::<RedisLog>::clone(log);
        let (cursor, outcome) = Cursor::open(log, vec![topic.clone()], origin).await.unwrap();
        Self { cursor, outcome }
    }

    pub(crate) async fn latest(log: &Arc<RedisLog>, topic: &Topic) -> Self {
        Self::open(log, topic, Origin::Latest).await
    }

    pub(crate) async fn resume(log: &Arc<RedisLog>, topic: &Topic, cursor: &str) -> Self {
        Self::open(log, topic, Origin::Resume(cursor.to_owned())).await
    }

    pub(crate) fn wire(&self) -> String {
        self.cursor.wire()
    }

    pub(crate) async fn step(&mut self) -> Step {
        timeout(DEADLINE, self.cursor.next(PAGE)).await.expect("a step comes")
    }

    pub(crate) async fn events(&mut self) -> Vec<Event> {
        match self.step().await {
            Step::Events { events, .. } => events.into_vec(),
            other => panic!("{other:?} instead of events"),
        }
    }

    pub(crate) async fn gap(&mut self) -> Gap {
        match self.step().await {
            Step::Gap { gap, .. } => *gap,
            other => panic!("{other:?} instead of a gap"),
        }
    }

    /// Reads up to number `n`, and fails at a gap. Returns the numbers.
    pub(crate) async fn until(&mut self, n: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&n) {
            numbers.extend(self.events().await.iter().map(|event| event.position().n));
        }
        numbers
    }
}

/// The keys of a topic on its primary.
pub(crate) struct StoredKeys {
    pub(crate) stream: String,
    pub(crate) head: String,
}

impl StoredKeys {
    /// The keys of the only topic that a server has; `None` if it has none.
    pub(crate) async fn of_only_topic(server: &Server) -> Option<Self> {
        let stream: Vec<String> = server.words("KEYS e:*").await;
        let head: Vec<String> = server.words("KEYS h:*").await;
        Some(Self { stream: stream.into_iter().next()?, head: head.into_iter().next()? })
    }

    /// Stores the event after the head as the script does, but without its message.
    pub(crate) async fn add_in_silence(&self, server: &Server, head: Position) {
        let next = Position::new(head.ms, head.n + 1).to_string();
        let mut entry = redis::cmd("XADD");
        entry.arg(&self.stream).arg(&next).arg("d").arg(format!("\n{}", head.n + 1));
        server.run::<()>(&entry).await;
        let value: String = server.words(&format!("GET {}", self.head)).await;
        let mut set = redis::cmd("SET");
        set.arg(&self.head).arg(value.replacen(&head.to_string(), &next, 1));
        server.run::<()>(&set).await;
    }
}
