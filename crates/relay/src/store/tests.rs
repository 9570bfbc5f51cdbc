//! The store on a log that fails on purpose.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use event_log::{
    Bounds, Limit, LogName, MemoryLog, Page, Position, ReadError, Receipt, Retention, Seek, Sought,
    Tail,
};
use futures_util::future::pending;

use super::*;

/// The answer to one append.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing is stored, and the log says so.
    Refused,
    /// Everything is stored, and the log says that it may not be.
    Stored,
    /// Everything is stored, and the log never answers.
    Silent,
    /// The first event alone is stored.
    First,
    /// All but the first event are stored.
    Rest,
}

/// A log that has these faults, and none after them.
#[derive(Debug)]
struct Hostile {
    log: MemoryLog,
    faults: Mutex<VecDeque<Fault>>,
}

fn unavailable<T>() -> Result<T, AppendError> {
    Err(AppendError::Unavailable("fault".to_owned()))
}

#[async_trait]
impl Log for Hostile {
    async fn append(&self, mut batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let (count, fault) = (batch.len(), self.faults.lock().unwrap().pop_front());
        let failed = |count: usize| (0..count).map(|_| unavailable()).collect();
        match fault {
            None => self.log.append(batch).await,
            Some(Fault::Refused) => failed(count),
            Some(Fault::Stored) => {
                self.log.append(batch).await;
                failed(count)
            }
            Some(Fault::Silent) => {
                self.log.append(batch).await;
                pending().await
            }
            Some(Fault::First) => {
                let mut results = self.log.append(batch.drain(..1).collect()).await;
                results.extend((1..count).map(|_| unavailable()));
                results
            }
            Some(Fault::Rest) => {
                let mut results = vec![unavailable()];
                results.extend(self.log.append(batch.split_off(1)).await);
                results
            }
        }
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.log.read(log, after, limit).await
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.log.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.log.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.log.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.log.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        self.log.tail(log).await
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.log.echo(log).await
    }
}

fn events(numbers: std::ops::Range<usize>) -> Vec<NewEvent> {
    let event = |n: usize| NewEvent { data: n.to_string().into(), ..NewEvent::default() };
    numbers.map(event).collect()
}

/// Stores 150 events and an end under these faults. Returns the result of the events, and what the topic has.
async fn stored(faults: impl IntoIterator<Item = Fault>) -> (Result<(), Lost>, Vec<String>) {
    let faults = Mutex::new(faults.into_iter().collect());
    let log = Arc::new(Hostile { log: MemoryLog::new(Retention::default()), faults });
    let topic = Topic::new("relay/t").unwrap();
    let mut store = Store::new(Arc::<Hostile>::clone(&log), topic.clone());
    let result = match store.append(events(0..150)).await {
        Ok(()) => store.end().await,
        lost => lost,
    };
    let limit = Limit { events: 1000, bytes: usize::MAX };
    let page = log.read(&topic, Position::START, limit).await.unwrap();
    let shown = |event: &event_log::Event| match event.mark() {
        Mark::End => "end".to_owned(),
        _ => event.data().to_owned(),
    };
    (result, page.events.iter().map(shown).collect())
}

fn all() -> Vec<String> {
    (0..150).map(|n| n.to_string()).chain(["end".to_owned()]).collect()
}

#[tokio::test(start_paused = true)]
async fn every_event_is_stored_once_and_in_order_whatever_the_log_says() {
    use Fault::{First, Refused, Silent, Stored};
    let (result, held) =
        stored([Refused, Stored, First, Silent, Stored, Stored, First, First]).await;
    assert_eq!((result, held), (Ok(()), all()));
}

#[tokio::test]
async fn a_topic_that_another_relay_has_ended_stays_as_it_is() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Retention::default()));
    let topic = Topic::new("relay/t").unwrap();
    let store = || Store::new(Arc::clone(&log), topic.clone());
    let (mut own, mut other) = (store(), store());
    own.append(events(0..1)).await.unwrap();
    other.end_broken("lost", "it is gone").await.unwrap();
    assert!(own.append(events(1..2)).await.is_err());
    own.end().await.unwrap();
    own.end_broken("cut", "it broke off").await.unwrap();
    let page = log.read(&topic, Position::START, Limit::PAGE).await.unwrap();
    assert_eq!(page.events.len(), 2);
    assert!(page.events[1].data().contains("\"lost\""));
}

#[tokio::test(start_paused = true)]
async fn an_append_is_given_up_after_a_while() {
    let (result, held) = stored([Fault::Refused; 1000]).await;
    assert!(matches!(result, Err(Lost::Append(AppendError::Unavailable(_)))), "{result:?}");
    assert!(held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_event_is_stored_before_the_one_before_it() {
    let (result, held) = stored([Fault::Rest, Fault::Rest]).await;
    assert_eq!((result, held), (Ok(()), all()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_on_after_events_that_the_log_has_lost() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Retention::default()));
    let topic = Topic::new("relay/t").unwrap();
    let mut store = Store::new(Arc::clone(&log), topic.clone());
    store.append(events(0..3)).await.unwrap();
    // Two more were acknowledged by the server that the log had before.
    (store.stored, store.reached) = (5, 5);
    store.append(events(5..8)).await.unwrap();
    let page = log.read(&topic, Position::START, Limit::PAGE).await.unwrap();
    let held: Vec<_> = page.events.iter().map(|event| event.data().to_owned()).collect();
    assert_eq!(held, ["0", "1", "2", "5", "6", "7"]);
    assert_eq!((store.stored, store.reached), (8, 8));
}
