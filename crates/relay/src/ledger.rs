//! Facts that all relays share: a reserved topic for each name, whose newest entry counts.
//!
//! An entry is stored only after the entry that its writer has seen, so of two relays that decide at the same time
//! one learns that it was late. The key of the append does that: the log stores an event with one key once.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_log::{
    Append, AppendError, Cursor, Event, Key, Limit, Log, NewEvent, Origin, Position, ReadError,
    Step, Topic,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::Refusal;

/// The entries under one name.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    log: Arc<dyn Log>,
    topic: Topic,
}

/// An entry, and its position.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) at: Position,
    /// `None` if the log has dropped the entry, or a later version has written it.
    pub(crate) entry: Option<T>,
}

/// The longest wait for the log.
const LOG_MAX: Duration = Duration::from_secs(5);

impl Ledger {
    /// The entries under a name: a kind, and secrets that the name of the topic does not reveal.
    pub(crate) fn new(log: &Arc<dyn Log>, kind: &str, name: &Digest) -> Self {
        let topic = Topic::reserved(&format!("relay/{kind}/{}", name.as_str()));
        let topic = topic.expect("a kind and base64url have no other characters than a topic");
        Self { log: Arc::clone(log), topic }
    }

    /// Returns the newest entry; its position is the start if there is none.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn newest<T: DeserializeOwned>(&self) -> Result<Placed<T>, Refusal> {
        let read = async {
            let Some(bounds) = self.log.bounds(&self.topic).await? else {
                return Ok(Placed { at: Position::START, entry: None });
            };
            let page = self.log.read(&self.topic, bounds.head.before(), Limit::ONE).await?;
            let newest = page.events.first();
            Ok::<_, ReadError>(newest.map_or(Placed { at: bounds.head, entry: None }, placed))
        };
        Ok(timeout(LOG_MAX, read).await.map_err(|_| Refusal::LogUnavailable)??)
    }

    /// Appends an entry after the newest one, of which the caller gives the number. Returns the position, or `None`
    /// if there is another entry after that one.
    ///
    /// # Errors
    /// The log did not answer. The entry may be stored.
    pub(crate) async fn append_after(
        &self,
        n: u64,
        entry: &(impl Serialize + Sync),
    ) -> Result<Option<Position>, Refusal> {
        let data = serde_json::to_string(entry).map_err(|_| Refusal::LogUnavailable)?.into();
        let event = NewEvent { data, ..NewEvent::default() };
        let key = Some(Key::new(&format!("after-{n}")).expect("visible ASCII is a key"));
        let append = Append { key, ..Append::new(self.topic.clone(), event) };
        let appended = timeout(LOG_MAX, self.log.append(vec![append])).await;
        let result = appended.map_err(|_| Refusal::LogUnavailable)?.pop();
        match result.expect("a log answers for every event") {
            Ok(receipt) => Ok((!receipt.duplicate).then_some(receipt.position)),
            // Another entry has the key.
            Err(AppendError::KeyReused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the entry after a position, at most for `wait`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn wait(&self, after: Position, wait: Duration) -> Result<(), Refusal> {
        let origin = Origin::Resume(after.to_string());
        let opened = Cursor::open(Arc::clone(&self.log), vec![self.topic.clone()], origin);
        let opened = timeout(LOG_MAX, opened).await.map_err(|_| Refusal::LogUnavailable)?;
        let (mut cursor, _) = opened?;
        // Any step is a reason to look.
        let _step: Result<Step, _> = timeout(wait, cursor.next(Limit::ONE)).await;
        Ok(())
    }
}

fn placed<T: DeserializeOwned>(event: &Event) -> Placed<T> {
    Placed { at: event.position(), entry: serde_json::from_str(event.data()).ok() }
}

/// The SHA-256 of some parts, as base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(String);

impl Digest {
    /// The digest of parts, each with its length, so that no two lists have the same.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(URL_SAFE_NO_PAD.encode(hash.finish()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use event_log::{MemoryLog, Retention};

    use super::*;

    fn ledger() -> Ledger {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Retention::default()));
        Ledger::new(&log, "test", &Digest::of([&b"name"[..]]))
    }

    #[tokio::test]
    async fn the_newest_entry_counts() {
        let ledger = ledger();
        let none: Placed<u32> = ledger.newest().await.unwrap();
        assert_eq!((none.at, none.entry), (Position::START, None));
        let first = ledger.append_after(0, &1).await.unwrap().unwrap();
        let second = ledger.append_after(first.n, &2).await.unwrap().unwrap();
        let newest: Placed<u32> = ledger.newest().await.unwrap();
        assert_eq!((newest.at, newest.entry), (second, Some(2)));
    }

    #[tokio::test]
    async fn of_two_entries_after_the_same_one_the_second_is_late() {
        let ledger = ledger();
        assert!(ledger.append_after(0, &1).await.unwrap().is_some());
        assert!(ledger.append_after(0, &2).await.unwrap().is_none());
        assert_eq!(ledger.newest::<u32>().await.unwrap().entry, Some(1));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Digest::of([&b"ab"[..], b"c"]), Digest::of([&b"a"[..], b"bc"]));
    }
}
