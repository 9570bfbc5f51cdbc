//! A log in memory and relays that copy into it, for the tests of kinds with real servers.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Event, Key, Limit, Log as _, Mark, MemoryLog, Position, Retention, Topic};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::copier::{Copier, End};
use crate::place::Place;
use crate::stats::{Snapshot, Stats};

/// The longest wait for entries.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) stats: Stats,
    config: String,
}

/// A relay. Dropped, it dies as one that was killed.
pub(crate) struct Relay(JoinHandle<End>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Relay {
    /// Waits until a rule stops the source.
    pub(crate) async fn end(mut self) -> End {
        timeout(WAIT_MAX, &mut self.0).await.unwrap().unwrap()
    }
}

impl Stage {
    /// The configuration is that of a source `s`.
    pub(crate) fn new(config: &str) -> Self {
        let retention = Retention { events: 1_000_000, ..Retention::default() };
        let (log, stats) = (Arc::new(MemoryLog::new(retention)), Stats::default());
        Self { log, stats, config: config.to_owned() }
    }

    /// Starts a relay. A second one with the same name takes over at once.
    pub(crate) fn relay(&self) -> Relay {
        self.part(None)
    }

    /// Starts a relay of one part.
    pub(crate) fn part(&self, part: Option<u32>) -> Relay {
        let options = Config::parse(&self.config).unwrap().sources["s"].clone();
        let name = part.map_or_else(|| "s".to_owned(), |part| format!("s#{part}"));
        let copier = Copier {
            log: Arc::<MemoryLog>::clone(&self.log),
            name: Key::new(&name).unwrap(),
            kind: options.kind.name(),
            node: "a".to_owned(),
            source: options.kind.source(part),
            copying: options.copying,
            stats: self.stats.clone(),
            leaving: CancellationToken::new(),
        };
        Relay(tokio::spawn(copier.run()))
    }

    /// Waits until the topic has so many entries, and returns them: data, or the mark of one without.
    pub(crate) async fn entries(&self, topic: &str, count: usize) -> Vec<String> {
        let events = self.events(topic, count).await;
        events.iter().map(text).collect()
    }

    /// Waits until the topic has so many events.
    pub(crate) async fn events(&self, topic: &str, count: usize) -> Vec<Event> {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let events = self.now(topic).await;
            if events.len() >= count {
                return events;
            }
            let snapshot = self.snapshot();
            let texts: Vec<_> = events.iter().map(text).collect();
            assert!(
                Instant::now() < end,
                "{topic} has not {count} entries: {texts:?}, {snapshot:?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, is_so: impl Fn(&Snapshot<'_>) -> bool) -> Snapshot<'_> {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let snapshot = self.snapshot();
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < end, "{snapshot:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        self.stats.snapshot("s", "", "a")
    }

    /// The bookmark of the source in a topic.
    pub(crate) async fn place(&self, topic: &str) -> Option<Place> {
        let found = self.log.bookmark(&Topic::new(topic).unwrap(), &Key::new("s").unwrap()).await;
        Place::parse(found.unwrap()?.as_str())
    }

    async fn now(&self, topic: &str) -> Vec<Event> {
        let topic = Topic::new(topic).unwrap();
        let all = Limit { events: usize::MAX, bytes: usize::MAX };
        let page = self.log.read(&topic, Position::START, all).await.unwrap();
        page.events.to_vec()
    }
}

fn text(event: &Event) -> String {
    match event.mark() {
        Mark::Open => event.data().to_owned(),
        mark => format!("{mark:?}"),
    }
}

/// The numbers of a range as texts.
pub(crate) fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}
