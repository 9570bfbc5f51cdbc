//! Scripted races that random schedules would rarely hit.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, Cursor, Event, Key, Limit, Log, LogName, MemoryLog,
    NewEvent, Origin, Page, Position, ReadError, Receipt, Retention, Seek, Sought, Spaces, Step,
    Tail, Topic,
};
use tokio::time::timeout;

use super::node::lock;

const ONE: Limit = Limit::ONE;

/// A node with a scripted tail of `topic`, and a scripted event during each read.
#[derive(Debug)]
struct Scripted {
    store: MemoryLog,
    topic: Topic,
    tail: Arc<Tail>,
    script: Mutex<Script>,
}

/// An event between the log's answer to a read and the answer's arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Nothing,
    /// The topic grows by one event, and the tail hears of the event at once.
    Grow,
    /// The store does not answer, neither now nor later.
    Fail,
}

impl Scripted {
    /// The topic has `stored` events, of which the tail knows the first `known`.
    async fn new(stored: u64, known: u64, script: Script) -> (Arc<Self>, Vec<Position>) {
        let store = MemoryLog::new(Retention::default());
        let topic = Topic::new("scripted").expect("a name");
        let mut positions = vec![Position::START];
        for _ in 0..stored {
            positions.push(publish(&store, &topic).await.position());
        }
        let known = positions[usize::try_from(known).expect("small")];
        let tail = Arc::new(Tail::new(known, false, Limit { events: 8, bytes: usize::MAX }));
        (Arc::new(Self { store, topic, tail, script: Mutex::new(script) }), positions)
    }

    /// Returns true for the log of `topic`.
    fn is_scripted(&self, log: &LogName) -> bool {
        self.store.spaces().log_of(&self.topic) == *log
    }

    async fn cursor(self: &Arc<Self>, topics: Vec<Topic>, origin: Origin) -> Cursor {
        Cursor::open(Arc::clone(self) as Arc<dyn Log>, topics, origin).await.expect("it opens").0
    }
}

async fn publish(store: &MemoryLog, topic: &Topic) -> Event {
    let event = NewEvent { data: "x".into(), ..NewEvent::default() };
    let append = Append::new(topic.clone(), event.clone());
    let receipt = store.append(vec![append]).await.remove(0).expect("the store takes an event");
    Event::new(topic.clone(), receipt.position, event)
}

#[async_trait]
impl Log for Scripted {
    fn spaces(&self) -> &Spaces {
        self.store.spaces()
    }

    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.store.append(batch).await
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        let page = self.store.read(log, after, limit).await?;
        let script = if self.is_scripted(log) { *lock(&self.script) } else { Script::Nothing };
        match script {
            Script::Nothing => {}
            Script::Grow => {
                let event = publish(&self.store, &self.topic).await;
                self.tail.reset(event.position(), false);
                *lock(&self.script) = Script::Nothing;
            }
            Script::Fail => return Err(ReadError::Unavailable("on purpose".to_owned())),
        }
        Ok(page)
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.store.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.store.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.store.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.store.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        match self.is_scripted(log) {
            true => Ok(Arc::clone(&self.tail)),
            false => self.store.tail(log).await,
        }
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.store.echo(log).await
    }
}

/// Catches a cursor that marks the wake-up as seen after its read instead of before.
#[tokio::test(start_paused = true)]
async fn a_wake_up_during_an_empty_read_is_not_slept_through() {
    let (log, positions) = Scripted::new(3, 2, Script::Nothing).await;
    let origin = Origin::Resume(positions[3].to_string());
    let mut cursor = log.cursor(vec![log.topic.clone()], origin).await;
    *lock(&log.script) = Script::Grow;
    let step = timeout(Duration::from_mins(1), cursor.next(ONE)).await.expect("it is woken");
    assert!(
        matches!(&step, Step::Events { events, .. } if events[0].position().n == 4),
        "{step:?}"
    );
}

/// Catches a cursor that gives up its turn at the first topic that cannot be read.
#[tokio::test(start_paused = true)]
async fn a_topic_that_cannot_be_read_keeps_no_other_waiting() {
    let (log, _) = Scripted::new(3, 3, Script::Fail).await;
    let others = ["other", "z"].map(|name| Topic::new(name).expect("a name"));
    let topics = [others.as_slice(), std::slice::from_ref(&log.topic)].concat();
    let mut cursor = log.cursor(topics, Origin::Latest).await;
    log.tail.reset(Position::START, false);
    for round in 1..=5 {
        for (topic, index) in others.iter().zip([0, 2]) {
            publish(&log.store, topic).await;
            let step = cursor.try_next(ONE).await.expect("the other topics answer");
            assert!(
                matches!(&step, Some(Step::Events { place, events })
                    if *place == index && events[0].position().n == round),
                "{step:?}"
            );
        }
    }
    assert!(cursor.try_next(ONE).await.is_err(), "a failed read of a topic is an error");
    *lock(&log.script) = Script::Nothing;
}

/// Catches a cursor that takes the window of a wiped topic for the window of the new one, since both begin
/// at the start.
#[tokio::test(start_paused = true)]
async fn a_window_from_before_a_reset_is_not_told_again() {
    let (log, _) = Scripted::new(0, 0, Script::Nothing).await;
    let first = publish(&log.store, &log.topic).await;
    let second = publish(&log.store, &log.topic).await;
    log.tail.extend([first]);
    let origin = Origin::Resume(second.position().to_string());
    let mut cursor = log.cursor(vec![log.topic.clone()], origin).await;
    log.store.flush();
    // The opening has read the log a moment ago; the next read is after a pause.
    let step = cursor.next(ONE).await;
    assert!(matches!(step, Step::Gap { .. }), "{step:?}");
    let step = cursor.try_next(ONE).await.expect("the log answers");
    assert!(step.is_none(), "{step:?} is of the past");
    log.tail.reset(Position::START, false);
    log.tail.extend([publish(&log.store, &log.topic).await]);
    let step = cursor.try_next(ONE).await.expect("the log answers");
    assert!(matches!(step, Some(Step::Events { .. })), "{step:?}");
}

/// Catches a cursor that passes by what it did not select in the window of a wiped space, and then takes what follows there
/// for events of the new log.
#[tokio::test(start_paused = true)]
async fn a_window_from_before_a_reset_is_not_passed_by() {
    let [topic, other] = ["s/a", "s/b"].map(|name| Topic::new(name).expect("a name"));
    let spaces = Spaces::new(["s/"]).expect("a prefix");
    let store = MemoryLog::with_spaces(Retention::default(), spaces);
    let tail = Arc::new(Tail::new(Position::START, false, Limit { events: 8, bytes: usize::MAX }));
    let script = Mutex::new(Script::Nothing);
    let log = Arc::new(Scripted { store, topic, tail, script });
    let first = publish(&log.store, &other).await;
    let second = publish(&log.store, &log.topic).await;
    log.tail.extend([first]);
    let origin = Origin::Resume(second.position().to_string());
    let mut cursor = log.cursor(vec![log.topic.clone()], origin).await;
    log.store.flush();
    let step = cursor.next(ONE).await;
    assert!(matches!(step, Step::Gap { .. }), "{step:?}");
    assert!(!cursor.pass_by(), "it has passed nothing of the new log");
    // This node hears late of an event that the reader has had.
    log.tail.extend([second]);
    let step = cursor.try_next(ONE).await.expect("the log answers");
    assert!(step.is_none(), "{step:?} is of the past");
    log.tail.reset(Position::START, false);
    log.tail.extend([publish(&log.store, &log.topic).await]);
    let step = cursor.try_next(ONE).await.expect("the log answers");
    assert!(matches!(step, Some(Step::Events { .. })), "{step:?}");
}
