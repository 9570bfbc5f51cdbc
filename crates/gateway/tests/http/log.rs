//! Publishing, and logs that fail on purpose.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bounds, EventType, Limit, Log, Mark, MemoryLog, NewEvent, Page, Position,
    ReadError, Receipt, Retention, Seek, Sought, Tail, Topic,
};

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

/// Publishes to a log what tests need.
pub(crate) trait Publish {
    async fn put(&self, name: &str, event: NewEvent) -> Position;

    async fn publish(&self, name: &str, data: &str) -> Position {
        self.put(name, NewEvent { data: data.into(), ..NewEvent::default() }).await
    }

    async fn publish_as(&self, name: &str, kind: &str, data: &str) -> Position {
        let kind = Some(EventType::new(kind).unwrap());
        self.put(name, NewEvent { kind, data: data.into(), ..NewEvent::default() }).await
    }

    async fn end(&self, name: &str) -> Position {
        self.put(name, NewEvent { mark: Mark::End, ..NewEvent::default() }).await
    }

    /// Publishes `0`, `1`, `2`, ...
    async fn publish_numbers(&self, name: &str, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.publish(name, &number.to_string()).await;
        }
    }
}

impl<L: Log> Publish for L {
    async fn put(&self, name: &str, event: NewEvent) -> Position {
        let append = Append { topic: topic(name), event, key: None };
        self.append(vec![append]).await.pop().unwrap().unwrap().position
    }
}

/// The behaviour of a remote log when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    Fails,
    Hangs,
}

/// A log that is elsewhere: this node has a small window of each topic and must read the rest, and
/// hears of nothing while the log is away.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) memory: Arc<MemoryLog>,
    tails: Mutex<HashMap<Topic, Arc<Tail>>>,
    mood: Mutex<Mood>,
    /// Reads that were begun, and of these the reads that have ended.
    pub(crate) reads: [AtomicUsize; 2],
}

/// Notes that a read has ended, answered or dropped.
struct Reading<'a>(&'a AtomicUsize);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

const WINDOW: Limit = Limit { events: 4, bytes: usize::MAX };

impl Remote {
    pub(crate) fn new() -> Arc<Self> {
        let memory = Arc::new(MemoryLog::new(Retention::default()));
        let mood = Mutex::new(Mood::Works);
        Arc::new(Self { memory, tails: Mutex::default(), mood, reads: Default::default() })
    }

    /// From now on it cannot be reached.
    pub(crate) fn goes_away(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// It can be reached again, and this node hears how far its topics are.
    pub(crate) async fn comes_back(&self) {
        *self.mood.lock().unwrap() = Mood::Works;
        self.move_tails().await;
    }

    /// The tails move to the heads of their topics, past readers that do not have these events yet.
    pub(crate) async fn move_tails(&self) {
        let tails = self.tails.lock().unwrap().clone();
        for (topic, tail) in tails {
            if let Some(bounds) = self.memory.bounds(&topic).await.unwrap() {
                tail.reset(bounds.head, bounds.ended);
            }
        }
    }

    async fn reached(&self) -> Result<(), ReadError> {
        // Like any network, never at once.
        tokio::task::yield_now().await;
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Works => Ok(()),
            Mood::Fails => Err(ReadError::Unavailable("it is away".to_owned())),
            Mood::Hangs => pending().await,
        }
    }
}

#[async_trait]
impl Log for Remote {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let topics: Vec<_> = batch.iter().map(|append| append.topic.clone()).collect();
        let results = self.memory.append(batch).await;
        if self.reached().await.is_ok() {
            for topic in topics {
                let tail = self.tails.lock().unwrap().get(&topic).cloned();
                if let Some(tail) = tail {
                    let limit = Limit { events: usize::MAX, bytes: usize::MAX };
                    let page = self.memory.read(&topic, tail.head(), limit).await.unwrap();
                    tail.extend(page.events);
                }
            }
        }
        results
    }

    async fn read(&self, topic: &Topic, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.reads[0].fetch_add(1, Relaxed);
        let _reading = Reading(&self.reads[1]);
        self.reached().await?;
        self.memory.read(topic, after, limit).await
    }

    async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, ReadError> {
        self.reached().await?;
        self.memory.seek(topic, seek).await
    }

    async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, ReadError> {
        self.reached().await?;
        self.memory.bounds(topic).await
    }

    async fn tail(&self, topic: &Topic) -> Result<Arc<Tail>, ReadError> {
        self.reached().await?;
        let bounds = self.memory.bounds(topic).await?;
        let (head, ended) = bounds.map_or((Position::START, false), |b| (b.head, b.ended));
        let mut tails = self.tails.lock().unwrap();
        let tail =
            tails.entry(topic.clone()).or_insert_with(|| Arc::new(Tail::new(head, ended, WINDOW)));
        Ok(Arc::clone(tail))
    }
}
