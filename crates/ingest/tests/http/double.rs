//! A log that fails on purpose.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bounds, Limit, Log, MemoryLog, Page, ReadError, Receipt, Retention, Seek,
    Sought, Tail, Topic,
};
use tokio::sync::Semaphore;

/// What the log does with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    /// Stores nothing and says that it is unavailable.
    Unavailable,
    /// Stores nothing and says that it is full.
    Full,
    /// Stores everything, but says so only when [`Moody::release`] was called.
    Slow,
    /// Never answers.
    Hangs,
}

/// An in-memory log in a mood: the given ones, an append each, then that of the last for ever.
#[derive(Debug)]
pub(crate) struct Moody {
    memory: MemoryLog,
    moods: Mutex<VecDeque<Mood>>,
    slow: Semaphore,
    /// The sizes of the batches it was given.
    pub(crate) batches: Mutex<Vec<usize>>,
}

impl Moody {
    pub(crate) fn new(moods: impl IntoIterator<Item = Mood>) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryLog::new(Retention::default()),
            moods: Mutex::new(moods.into_iter().collect()),
            slow: Semaphore::new(0),
            batches: Mutex::default(),
        })
    }

    /// Lets one slow append answer.
    pub(crate) fn release(&self) {
        self.slow.add_permits(1);
    }

    fn mood(&self) -> Mood {
        let mut moods = self.moods.lock().unwrap();
        match moods.len() {
            1 => moods[0],
            _ => moods.pop_front().unwrap(),
        }
    }
}

#[async_trait]
impl Log for Moody {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.batches.lock().unwrap().push(batch.len());
        let error = match self.mood() {
            Mood::Works => return self.memory.append(batch).await,
            Mood::Slow => {
                self.slow.acquire().await.unwrap().forget();
                return self.memory.append(batch).await;
            }
            Mood::Hangs => std::future::pending().await,
            Mood::Unavailable => AppendError::Unavailable("10.0.0.1:6379 refused".into()),
            Mood::Full => AppendError::Full("no memory is left".into()),
        };
        vec![Err(error); batch.len()]
    }

    async fn read(
        &self,
        topic: &Topic,
        after: event_log::Position,
        limit: Limit,
    ) -> Result<Page, ReadError> {
        self.memory.read(topic, after, limit).await
    }

    async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, ReadError> {
        self.memory.seek(topic, seek).await
    }

    async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, ReadError> {
        match self.mood() {
            Mood::Works | Mood::Slow => self.memory.bounds(topic).await,
            Mood::Hangs => std::future::pending().await,
            Mood::Unavailable | Mood::Full => Err(ReadError::Unavailable("gone".into())),
        }
    }

    async fn tail(&self, topic: &Topic) -> Result<Arc<Tail>, ReadError> {
        self.memory.tail(topic).await
    }
}
