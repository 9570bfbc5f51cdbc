//! A log that fails on purpose.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, Key, Limit, Log, LogName, MemoryLog, Page, Position,
    ReadError, Receipt, Retention, Seek, Sought, Tail, Topic,
};
use tokio::sync::Semaphore;

/// The reaction of the log to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    Works,
    /// Stores nothing and answers that the log is unavailable.
    Unavailable,
    /// Stores nothing and answers that the log is full.
    Full,
    /// Stores everything, but answers only after [`ScriptedLog::release`] was called.
    Slow,
    /// Never answers.
    Hangs,
}

/// An in-memory log that reacts to each call as scripted, and repeats the last reaction for ever.
#[derive(Debug)]
pub(crate) struct ScriptedLog {
    memory: MemoryLog,
    reactions: Mutex<VecDeque<Reaction>>,
    slow: Semaphore,
    /// The sizes of the batches that it received.
    pub(crate) batches: Mutex<Vec<usize>>,
}

impl ScriptedLog {
    pub(crate) fn new(reactions: impl IntoIterator<Item = Reaction>) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryLog::new(Retention::default()),
            reactions: Mutex::new(reactions.into_iter().collect()),
            slow: Semaphore::new(0),
            batches: Mutex::default(),
        })
    }

    /// Lets one slow append return its answer.
    pub(crate) fn release(&self) {
        self.slow.add_permits(1);
    }

    fn reaction(&self) -> Reaction {
        let mut reactions = self.reactions.lock().unwrap();
        match reactions.len() {
            1 => reactions[0],
            _ => reactions.pop_front().unwrap(),
        }
    }
}

#[async_trait]
impl Log for ScriptedLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.batches.lock().unwrap().push(batch.len());
        let error = match self.reaction() {
            Reaction::Works => return self.memory.append(batch).await,
            Reaction::Slow => {
                self.slow.acquire().await.unwrap().forget();
                return self.memory.append(batch).await;
            }
            Reaction::Hangs => std::future::pending().await,
            Reaction::Unavailable => AppendError::Unavailable("10.0.0.1:6379 refused".into()),
            Reaction::Full => AppendError::Full("no memory is left".into()),
        };
        vec![Err(error); batch.len()]
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.memory.read(log, after, limit).await
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.memory.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        match self.reaction() {
            Reaction::Works | Reaction::Slow => self.memory.bounds(log).await,
            Reaction::Hangs => std::future::pending().await,
            Reaction::Unavailable | Reaction::Full => Err(ReadError::Unavailable("gone".into())),
        }
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.memory.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.memory.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        self.memory.tail(log).await
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.memory.echo(log).await
    }
}
