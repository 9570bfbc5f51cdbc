//! The stage of a check: a lab, the truth, and helpers for common operations.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::history::Truth;
use super::reader::Reader;
use super::{DEADLINE, Lab};
use crate::{
    Append, AppendError, Cursor, Event, Key, Limit, Log, LogName, Mark, NewEvent, Origin, Outcome,
    Position, Receipt, Step, Topic,
};

/// A page that holds all of a small history.
pub(super) const ALL: Limit = Limit { events: 10_000, bytes: usize::MAX };

/// Appends in one batch: few enough for any log.
const BATCH: u64 = 200;

/// A topic that no other check, process or run uses.
pub(super) fn topic(label: &str) -> Topic {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("check/{label}/{}-{}-{count}", process::id(), now.as_nanos());
    Topic::new(&name).expect("a label is short and made of letters")
}

/// An event with this data.
pub(super) fn event(data: &str) -> NewEvent {
    NewEvent { data: data.into(), ..NewEvent::default() }
}

/// An event with this data and mark.
pub(super) fn marked(data: &str, mark: Mark) -> NewEvent {
    NewEvent { mark, ..event(data) }
}

/// The numbers of events.
pub(super) fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.position().n).collect()
}

/// The cursor of a reader of a single topic.
pub(super) fn after(position: Position) -> Origin {
    Origin::Resume(position.to_string())
}

/// Waits for a cursor's next step, which must come.
pub(super) async fn step(cursor: &mut Cursor, limit: Limit) -> Step {
    tokio::time::timeout(DEADLINE, cursor.next(limit)).await.expect("a step comes")
}

/// A lab, and the true history of its topics.
pub(super) struct Stage<'a> {
    pub(super) lab: &'a dyn Lab,
    pub(super) log: Arc<dyn Log>,
    pub(super) truth: Truth,
}

impl<'a> Stage<'a> {
    pub(super) fn new(lab: &'a dyn Lab) -> Self {
        Self { lab, log: lab.log(), truth: Truth::default() }
    }

    /// Publishes one event, which must succeed.
    pub(super) async fn publish(&self, topic: &Topic, event: NewEvent) -> Position {
        let receipt = self.try_publish(topic, event, None).await.expect("the log takes an event");
        assert!(!receipt.duplicate, "an event without a key is never a duplicate");
        receipt.position
    }

    /// Publishes one event.
    pub(super) async fn try_publish(
        &self,
        topic: &Topic,
        event: NewEvent,
        key: Option<&str>,
    ) -> Result<Receipt, AppendError> {
        let key = key.map(|key| Key::new(key).expect("a key of letters"));
        self.truth.publish(&*self.log, topic, event, key).await
    }

    /// Publishes `count` events in batches. Returns the position before them and their positions.
    pub(super) async fn fill(&self, topic: &Topic, count: u64) -> Vec<Position> {
        let name = self.log.spaces().log_of(topic);
        let head = self.truth.of(&name, |h| h.bounds().map_or(Position::START, |b| b.head));
        let mut positions = vec![head];
        for begin in (0..count).step_by(usize::try_from(BATCH).expect("small")) {
            let events = (begin..count.min(begin + BATCH)).map(|i| event(&format!("event {i}")));
            let batch = events.map(|event| Append::new(topic.clone(), event));
            let batch: Vec<_> = batch.collect();
            let receipts = self.log.append(batch.clone()).await;
            assert_eq!(receipts.len(), batch.len(), "one answer for each append");
            for (append, receipt) in batch.into_iter().zip(receipts) {
                let position = receipt.expect("the log takes an event").position;
                let verdict = self.truth.of(&name, |h| h.append(position, topic, append.event));
                verdict.expect("the position follows");
                positions.push(position);
            }
        }
        positions
    }

    /// Trims a log in the lab and in the truth.
    pub(super) async fn trim(&self, log: &LogName, keep: usize) {
        self.lab.trim(log, keep).await;
        self.truth.of(log, |history| history.trim(keep));
    }

    /// Wipes the store in the lab and in the truth.
    pub(super) async fn flush(&self) {
        self.lab.flush().await;
        self.truth.each(super::history::History::forget);
    }

    /// Opens a reader, which must be put at a valid position.
    pub(super) async fn reader(
        &self,
        log: &Arc<dyn Log>,
        topics: &[Topic],
        origin: Origin,
    ) -> Reader {
        let reader = Reader::open(Arc::clone(log), topics, origin, &self.truth).await;
        reader.expect("a reader is put where it belongs")
    }

    /// Opens a reader that resumes one topic.
    pub(super) async fn resumed(
        &self,
        log: &Arc<dyn Log>,
        topic: &Topic,
        position: Position,
    ) -> (Reader, Outcome) {
        let reader = self.reader(log, std::slice::from_ref(topic), after(position)).await;
        let outcome = reader.outcome();
        (reader, outcome)
    }

    /// Waits for the next step of a reader, which must come and be true.
    pub(super) async fn step(&self, reader: &mut Reader, limit: Limit) -> Step {
        reader.next(limit, &self.truth).await.expect("the next step is true")
    }

    /// Reads until the reader was told of number `n` of its only topic.
    pub(super) async fn read_to(&self, reader: &mut Reader, n: u64, limit: Limit) {
        while reader.ledgers()[0].n() < n {
            self.step(reader, limit).await;
        }
        assert_eq!(reader.ledgers()[0].n(), n, "nobody reads past the head");
    }

    /// Publishes one more event and reads it: a superfluous step would come before it.
    pub(super) async fn nothing_but_the_next(&self, reader: &mut Reader, topic: &Topic) {
        let position = self.publish(topic, event("the next")).await;
        match self.step(reader, ALL).await {
            Step::Events { events, .. } => assert_eq!(numbers(&events), [position.n]),
            other => panic!("{other:?} came before the next event"),
        }
    }
}
