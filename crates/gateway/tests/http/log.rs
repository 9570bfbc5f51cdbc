//! Publishing, and logs that fail on purpose.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, EventType, Key, Limit, Log, LogName, Mark, MemoryLog,
    NewEvent, Page, Position, ReadError, Receipt, Retention, Seek, Sought, Tail, Topic,
};

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

/// Short forms of publishing to a log.
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

    /// Publishes each number as an event.
    async fn publish_numbers(&self, name: &str, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.publish(name, &number.to_string()).await;
        }
    }
}

impl<L: Log> Publish for L {
    async fn put(&self, name: &str, event: NewEvent) -> Position {
        let append = Append::new(topic(name), event);
        self.append(vec![append]).await.pop().unwrap().unwrap().position
    }
}

/// The reaction of a remote log to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    /// It has no room for events, and serves readers.
    Full,
    Fails,
    Hangs,
}

/// A remote log. The node holds a small window of each topic and reads older events from the log.
/// While the log is unreachable, the node learns of no new events.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) memory: Arc<MemoryLog>,
    tails: Mutex<HashMap<LogName, Arc<Tail>>>,
    mood: Mutex<Mood>,
    /// Reads that have begun, and reads that have ended.
    pub(crate) reads: [AtomicUsize; 2],
}

/// Counts a read as ended when it is dropped, with or without a result.
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

    /// Makes the log unreachable.
    pub(crate) fn goes_away(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Makes the log reachable again, and moves the tails to the heads of their topics.
    pub(crate) async fn comes_back(&self) {
        *self.mood.lock().unwrap() = Mood::Works;
        self.move_tails().await;
    }

    /// Moves the tails to the heads of their topics, so that readers must read the events in between.
    pub(crate) async fn move_tails(&self) {
        let tails = self.tails.lock().unwrap().clone();
        for (topic, tail) in tails {
            if let Some(bounds) = self.memory.bounds(&topic).await.unwrap() {
                tail.reset(bounds.head, bounds.ended);
            }
        }
    }

    async fn reached(&self) -> Result<(), ReadError> {
        // A network never answers within the same poll.
        tokio::task::yield_now().await;
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Works | Mood::Full => Ok(()),
            Mood::Fails => Err(ReadError::Unavailable("it is away".to_owned())),
            Mood::Hangs => pending().await,
        }
    }
}

#[async_trait]
impl Log for Remote {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        if *self.mood.lock().unwrap() == Mood::Full {
            return batch.iter().map(|_| Err(AppendError::Full("no room".to_owned()))).collect();
        }
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

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.reads[0].fetch_add(1, Relaxed);
        let _reading = Reading(&self.reads[1]);
        self.reached().await?;
        self.memory.read(log, after, limit).await
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.reached().await?;
        self.memory.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.reached().await?;
        self.memory.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.reached().await?;
        self.memory.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.reached().await?;
        self.memory.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        self.reached().await?;
        let bounds = self.memory.bounds(log).await?;
        let (head, ended) = bounds.map_or((Position::START, false), |b| (b.head, b.ended));
        let mut tails = self.tails.lock().unwrap();
        let tail =
            tails.entry(log.clone()).or_insert_with(|| Arc::new(Tail::new(head, ended, WINDOW)));
        Ok(Arc::clone(tail))
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.reached().await?;
        self.memory.echo(log).await
    }
}
