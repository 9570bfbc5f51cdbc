//! The topic of one answer, for the task that writes it.
//!
//! The number of an event is the bookmark of the topic (`event_log::Advance`), so the log stores each event once, after
//! the one before it, and tells the number that it has reached if an append was not answered. A key for each event would
//! do the same for one more entry in Redis an event.

use std::sync::Arc;
use std::time::Duration;

use event_log::{
    Advance, Append, AppendError, Bookmark, EventType, Key, Log, Mark, NewEvent, Topic,
};
use tokio::time::{Instant, sleep, timeout};

/// Writes one topic, in order and each event once.
#[derive(Debug)]
pub(crate) struct Store {
    log: Arc<dyn Log>,
    topic: Topic,
    source: Key,
    /// Events that were stored.
    stored: u64,
    /// The number of the last event that the log has: a fail-over may lose events that were stored.
    reached: u64,
}

/// The log has not stored an event, so nothing may follow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The log did not store it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log has another number of events than this relay knew.
    #[error("the log has another number of events of the answer")]
    Moved,
}

/// The way in which the log recognises an event that is appended again.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// By its number.
    Numbered,
    /// As the end, which a topic has once.
    End,
}

/// The longest time in which an append is tried. The caller waits meanwhile.
const STORE_MAX: Duration = Duration::from_secs(10);
/// The longest time for one try.
const TRY_MAX: Duration = Duration::from_secs(3);
/// The pause after a failed try.
const PAUSE: Duration = Duration::from_millis(200);
/// Events in one append, which bounds a command to Redis.
const BATCH_MAX: usize = 64;
/// The key of the end of a topic, for which no relay has to know the number of events.
const END: &str = "end";
/// The source of the events, for the log. The topic has no other.
const SOURCE: &str = "upstream";
/// The type of the last event of an answer that did not come to its end.
const BROKEN: &str = "error";

impl Store {
    pub(crate) fn new(log: Arc<dyn Log>, topic: Topic) -> Self {
        let source = Key::new(SOURCE).expect("a word is a key");
        Self { log, topic, source, stored: 0, reached: 0 }
    }

    pub(crate) const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Appends events in order.
    ///
    /// # Errors
    /// The log did not store one of them. Those after it are not stored.
    pub(crate) async fn append(&mut self, events: Vec<NewEvent>) -> Result<(), Lost> {
        let mut events = events.into_iter();
        loop {
            let batch: Vec<_> = events.by_ref().take(BATCH_MAX).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.append_batch(batch, Known::Numbered).await?;
        }
    }

    /// Ends the topic after the last event of a complete answer.
    ///
    /// # Errors
    /// The log did not store the end.
    pub(crate) async fn end(&mut self) -> Result<(), Lost> {
        let end = NewEvent { mark: Mark::End, ..NewEvent::default() };
        self.append_end(end).await
    }

    /// Ends the topic of an answer that did not come to its end. The last event says so in the form in which
    /// LLM APIs report an error within a stream, so that their clients raise it.
    ///
    /// # Errors
    /// The log did not store it.
    pub(crate) async fn end_broken(&mut self, code: &str, message: &str) -> Result<(), Lost> {
        self.append_end(broken(code, message)).await
    }

    /// Appends the end, unless another relay has ended the topic, which took this one for gone.
    async fn append_end(&mut self, end: NewEvent) -> Result<(), Lost> {
        match self.append_batch(vec![end], Known::End).await {
            Err(Lost::Append(AppendError::Ended { .. } | AppendError::KeyReused { .. })) => Ok(()),
            result => result,
        }
    }

    async fn append_batch(&mut self, batch: Vec<NewEvent>, form: Known) -> Result<(), Lost> {
        let deadline = Instant::now() + STORE_MAX;
        let mut batch = batch;
        loop {
            let error = match self.try_append(&mut batch, form).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !error.is_transient() || Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }

    /// Appends a batch once, and leaves in it the events that have to be tried again.
    async fn try_append(&mut self, batch: &mut Vec<NewEvent>, form: Known) -> Result<(), Lost> {
        let appends = match form {
            Known::Numbered => self.numbered(batch),
            Known::End => {
                let key = Key::new(END).ok();
                let end = |event: &NewEvent| Append::new(self.topic.clone(), event.clone());
                batch.iter().map(|event| Append { key: key.clone(), ..end(event) }).collect()
            }
        };
        let appended = timeout(TRY_MAX, self.log.append(appends)).await;
        let results = appended.map_err(|_| AppendError::Unavailable("no answer".to_owned()))?;
        let (mut stored, mut failure) = (0, None);
        for result in results {
            match result {
                Ok(_) if failure.is_none() => stored += 1,
                // A try whose answer was lost has stored it, and the events before it.
                Ok(_) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        self.took(batch, stored);
        match failure {
            None => Ok(()),
            Some(AppendError::Moved { found, .. }) => self.moved(batch, found.as_ref()),
            Some(error) => Err(error.into()),
        }
    }

    /// The appends of a batch, each after the one before it.
    fn numbered(&self, batch: &[NewEvent]) -> Vec<Append> {
        let mut from = bookmark(self.reached);
        let append = |(event, number): (&NewEvent, u64)| {
            let to = bookmark(number)?;
            let (source, from) = (self.source.clone(), from.replace(to.clone()));
            let advance = Some(Advance { source, from, to });
            Some(Append { advance, ..Append::new(self.topic.clone(), event.clone()) })
        };
        batch.iter().zip(self.stored + 1..).filter_map(append).collect()
    }

    /// Notes that the first events of a batch are stored.
    fn took(&mut self, batch: &mut Vec<NewEvent>, count: usize) {
        if count > 0 {
            batch.drain(..count);
            self.stored += count as u64;
            self.reached = self.stored;
        }
    }

    /// Goes on at the number that the log has: an append that was not answered is stored, or a fail-over has lost
    /// events, of which the log tells the readers.
    fn moved(&mut self, batch: &mut Vec<NewEvent>, found: Option<&Bookmark>) -> Result<(), Lost> {
        let found = found.map_or(Some(0), |found| found.as_str().parse().ok());
        let found: u64 = found.ok_or(Lost::Moved)?;
        let ahead = usize::try_from(found.saturating_sub(self.stored)).unwrap_or(usize::MAX);
        self.took(batch, ahead.min(batch.len()));
        self.reached = found;
        if batch.is_empty() { Ok(()) } else { Err(Lost::Moved) }
    }
}

/// The bookmark after so many events.
fn bookmark(events: u64) -> Option<Bookmark> {
    let text = (events > 0).then(|| events.to_string())?;
    Some(Bookmark::new(&text).expect("a number is a bookmark"))
}

impl Lost {
    const fn is_transient(&self) -> bool {
        match self {
            Self::Append(error) => {
                matches!(error, AppendError::Unavailable(_) | AppendError::Full(_))
            }
            Self::Moved => true,
        }
    }
}

/// The last event of an answer that did not come to its end.
pub(crate) fn broken(code: &str, message: &str) -> NewEvent {
    let error = serde_json::json!({ "type": "relay_error", "code": code, "message": message });
    let data = serde_json::json!({ "type": "error", "error": error });
    NewEvent {
        kind: EventType::new(BROKEN).ok(),
        data: data.to_string().into(),
        mark: Mark::Last,
        ..NewEvent::default()
    }
}

#[cfg(test)]
mod tests;
