//! The topic of one answer, for the task that writes it.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, AppendError, EventType, Key, Log, Mark, NewEvent, Topic};
use tokio::time::{Instant, sleep, timeout};

/// Writes one topic, in order and each event once.
#[derive(Debug)]
pub(crate) struct Store {
    log: Arc<dyn Log>,
    topic: Topic,
    /// Events that are stored.
    stored: u64,
}

/// The log has not stored an event, so nothing may follow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The log did not store it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log has stored the event after it.
    #[error("the log has stored an event, but not the one before it")]
    Order,
}

/// The longest time in which an append is tried. The caller waits meanwhile.
const STORE_MAX: Duration = Duration::from_secs(10);
/// The longest time for one try.
const TRY_MAX: Duration = Duration::from_secs(3);
/// The pause after a failed try.
const PAUSE: Duration = Duration::from_millis(200);
/// Events in one append, which bounds a command to Redis.
const BATCH_MAX: usize = 64;
/// The key of the end of a topic. An event whose append was given up has the number that the end would have.
const END: &str = "end";
/// The type of the last event of an answer that did not come to its end.
const BROKEN: &str = "error";

impl Store {
    pub(crate) const fn new(log: Arc<dyn Log>, topic: Topic) -> Self {
        Self { log, topic, stored: 0 }
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
            self.append_batch(batch, None).await?;
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
        match self.append_batch(vec![end], Some(END)).await {
            Err(Lost::Append(AppendError::Ended { .. } | AppendError::KeyReused { .. })) => Ok(()),
            result => result,
        }
    }

    async fn append_batch(&mut self, batch: Vec<NewEvent>, key: Option<&str>) -> Result<(), Lost> {
        let deadline = Instant::now() + STORE_MAX;
        let mut batch = batch;
        loop {
            let error = match self.try_append(&mut batch, key).await {
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
    async fn try_append(
        &mut self,
        batch: &mut Vec<NewEvent>,
        key: Option<&str>,
    ) -> Result<(), Lost> {
        let appends = batch.iter().zip(self.stored + 1..).map(|(event, n)| {
            // A try that the log did not answer may have been stored.
            let key = key.map_or_else(|| n.to_string(), str::to_owned);
            let key = Key::new(&key).expect("a number or a word is a key");
            Append { key: Some(key), ..Append::new(self.topic.clone(), event.clone()) }
        });
        let appended = timeout(TRY_MAX, self.log.append(appends.collect())).await;
        let results = appended.map_err(|_| AppendError::Unavailable("no answer".to_owned()))?;
        let mut failure: Option<AppendError> = None;
        for result in results {
            match (result, &failure) {
                (Ok(_), None) => {
                    self.stored += 1;
                    batch.remove(0);
                }
                (Ok(_), Some(_)) => return Err(Lost::Order),
                (Err(error), None) => failure = Some(error),
                (Err(_), Some(_)) => {}
            }
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Lost {
    const fn is_transient(&self) -> bool {
        matches!(self, Self::Append(AppendError::Unavailable(_) | AppendError::Full(_)))
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
        trace: None,
    }
}

#[cfg(test)]
mod tests;
