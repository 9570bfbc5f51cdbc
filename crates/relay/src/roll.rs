//! The roll of relays: a relay that is gone has left answers without an end, and another relay ends them.
//!
//! Every relay calls its name into a reserved topic, over and over, and follows the calls of all. It counts a relay
//! as gone when it has heard itself four times since that relay's last call. Both calls take the same way, so a log
//! that is away, or slow, makes nobody look gone; and no clock is compared with another.
//!
//! A relay notes its answers in a book, a reserved topic of its own, before it stores their first event. The relay
//! that finds another one gone reads that book and ends the answers in it as broken. Several may do so at once,
//! since a topic ends once. A relay that was only frozen finds its topics ended, and does not store any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Cursor, Event, Limit, Log, NewEvent, Origin, Position, ReadError, Seek,
    Step, Topic,
};
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::names;
use crate::observer::Observe;
use crate::store;

/// The roll, for one relay.
#[derive(Debug)]
pub(crate) struct Roll {
    log: Arc<dyn Log>,
    /// The name of this relay. One that starts again is another.
    own: String,
}

/// An entry of the roll.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    relay: String,
    /// True if the relay has no answers any more.
    #[serde(default)]
    gone: bool,
}

/// An entry of a book.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// An answer begins in this topic.
    Begun(String),
    /// The topic of an answer has an end.
    Ended(String),
}

/// Notes one answer in the book.
struct Keeper {
    log: Arc<dyn Log>,
    book: Topic,
    topic: Option<Topic>,
}

/// The time between two calls of a relay.
const CALL_EVERY: Duration = Duration::from_secs(3);
/// Own calls without one of another relay, after which that relay is gone.
const SILENT_CALLS: u32 = 4;
/// The longest wait for the log.
const LOG_MAX: Duration = Duration::from_secs(5);
/// The pause before a log that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_secs(1);

impl Roll {
    pub(crate) fn new(log: &Arc<dyn Log>) -> Self {
        Self { log: Arc::clone(log), own: names::random() }
    }

    /// Calls and listens. Never ends.
    pub(crate) async fn run(&self) {
        join(self.call(), self.listen()).await;
    }

    /// Tells the other relays that nothing is left to end.
    pub(crate) async fn leave(&self) {
        self.enter(&self.own, true).await;
    }

    /// The party that notes one answer.
    pub(crate) fn keeper(&self) -> Box<dyn Observe> {
        Box::new(Keeper { log: Arc::clone(&self.log), book: book(&self.own), topic: None })
    }

    async fn call(&self) {
        let mut calls = interval(CALL_EVERY);
        calls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            calls.tick().await;
            self.enter(&self.own, false).await;
        }
    }

    async fn enter(&self, relay: &str, gone: bool) {
        let call = Call { relay: relay.to_owned(), gone };
        if let Err(error) = append(&self.log, roll(), &call).await {
            tracing::debug!(%error, "a call of the roll is not stored");
        }
    }

    async fn listen(&self) {
        loop {
            let origin = Origin::Seek(Seek::Earliest);
            match timeout(LOG_MAX, Cursor::open(Arc::clone(&self.log), vec![roll()], origin)).await
            {
                Ok(Ok((cursor, _))) => self.follow(cursor).await,
                Ok(Err(ReadError::Unavailable(cause))) => {
                    tracing::debug!(cause, "the roll of relays cannot be read");
                }
                Err(_) => tracing::debug!("the log did not open the roll of relays in time"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn follow(&self, mut cursor: Cursor) {
        // The other relays, each with the own calls since its last one.
        let mut silent = HashMap::new();
        loop {
            match cursor.next(Limit::PAGE).await {
                Step::Events { events, .. } => {
                    for relay in events.iter().flat_map(|event| self.hear(event, &mut silent)) {
                        self.bury(&relay).await;
                    }
                }
                Step::Gap { .. } => silent.clear(),
                Step::Broken { .. } | Step::Reopened { .. } => {}
                Step::End { .. } | Step::Finished => return,
            }
        }
    }

    /// Hears a call. Returns the relays that are gone.
    fn hear(&self, event: &Event, silent: &mut HashMap<String, u32>) -> Vec<String> {
        let Ok(Call { relay, gone }) = serde_json::from_str(event.data()) else {
            return Vec::new();
        };
        if relay != self.own {
            match gone {
                true => silent.remove(&relay),
                false => silent.insert(relay, 0),
            };
            return Vec::new();
        }
        silent.values_mut().for_each(|calls| *calls += 1);
        let is_gone = |(_, calls): &(&String, &u32)| **calls >= SILENT_CALLS;
        let lost: Vec<_> = silent.iter().filter(is_gone).map(|(relay, _)| relay.clone()).collect();
        silent.retain(|_, calls| *calls < SILENT_CALLS);
        lost
    }

    /// Ends the answers of a relay that is gone.
    async fn bury(&self, relay: &str) {
        let left = match unfinished(&*self.log, relay).await {
            Ok(left) => left,
            Err(error) => {
                // Another relay does, or this one when it starts again.
                tracing::warn!(%error, relay, "the answers of a relay that is gone are not known");
                return;
            }
        };
        tracing::info!(relay, answers = left.len(), "a relay is gone");
        for topic in left {
            let mut store = store::Store::new(Arc::clone(&self.log), topic);
            let (code, message) = ("lost", "the relay that read the answer is gone");
            if let Err(error) = store.end_broken(code, message).await {
                tracing::warn!(%error, "the topic of an answer has no end");
                return;
            }
        }
        self.enter(relay, true).await;
    }
}

/// Returns the topics of a relay's answers that have no end.
async fn unfinished(log: &dyn Log, relay: &str) -> Result<HashSet<Topic>, ReadError> {
    let (book, mut after, mut left) = (book(relay), Position::START, HashSet::new());
    loop {
        let page = log.read(&book, after, Limit::PAGE).await?;
        // The log has dropped the oldest lines. An answer that is only in those stays without an end.
        if let Some(gap) = page.gap {
            after = gap.resume;
            continue;
        }
        let Some(last) = page.events.last() else { return Ok(left) };
        after = last.position();
        for event in &page.events {
            let topic = |name: &str| Topic::new(name).ok();
            match serde_json::from_str(event.data()) {
                Ok(Line::Begun(name)) => left.extend(topic(&name)),
                Ok(Line::Ended(name)) => {
                    topic(&name).map(|topic| left.remove(&topic));
                }
                Err(_) => {}
            }
        }
    }
}

#[async_trait]
impl Observe for Keeper {
    async fn begun(&mut self, topic: &Topic) {
        self.topic = Some(topic.clone());
        self.write(Line::Begun(topic.to_string())).await;
    }

    async fn ended(&mut self) {
        if let Some(topic) = self.topic.take() {
            self.write(Line::Ended(topic.to_string())).await;
        }
    }
}

impl Keeper {
    async fn write(&self, line: Line) {
        if let Err(error) = append(&self.log, self.book.clone(), &line).await {
            tracing::debug!(%error, "an answer is not noted");
        }
    }
}

async fn append(
    log: &Arc<dyn Log>,
    topic: Topic,
    entry: &(impl Serialize + Sync),
) -> Result<(), AppendError> {
    let data = serde_json::to_string(entry).expect("names are JSON").into();
    let event = NewEvent { data, ..NewEvent::default() };
    let appended = timeout(LOG_MAX, log.append(vec![Append::new(topic, event)])).await;
    let late = || AppendError::Unavailable("no answer".to_owned());
    let result = appended.map_or_else(|_| Some(Err(late())), |mut results| results.pop());
    result.expect("a log answers for every event").map(drop)
}

fn roll() -> Topic {
    Topic::reserved("relay/roll").expect("it is a topic")
}

fn book(relay: &str) -> Topic {
    // A name that is too strange is that of no relay.
    let named = Topic::reserved(&format!("relay/book/{relay}"));
    named.unwrap_or_else(|_| Topic::reserved("relay/book").expect("it is a topic"))
}

#[cfg(test)]
mod tests {
    use event_log::{Mark, MemoryLog, Retention};

    use super::*;

    fn log() -> Arc<dyn Log> {
        Arc::new(MemoryLog::new(Retention::default()))
    }

    async fn begin(relay: &Roll, name: &str) -> (Topic, Box<dyn Observe>) {
        let (topic, mut keeper) = (Topic::new(name).unwrap(), relay.keeper());
        keeper.begun(&topic).await;
        let mut store = store::Store::new(Arc::clone(&relay.log), topic.clone());
        store.append(vec![NewEvent::default()]).await.unwrap();
        (topic, keeper)
    }

    async fn last(log: &Arc<dyn Log>, topic: &Topic) -> Event {
        let page = log.read(topic, Position::START, Limit::PAGE).await.unwrap();
        page.events.last().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn the_answers_of_a_relay_that_is_gone_are_ended_as_broken() {
        let log = log();
        let (gone, other) = (Roll::new(&log), Roll::new(&log));
        let (open, _keeper) = begin(&gone, "relay/open").await;
        let (done, mut keeper) = begin(&gone, "relay/done").await;
        keeper.ended().await;
        gone.enter(&gone.own, false).await;
        let (own, _keeper) = begin(&other, "relay/own").await;
        drop(timeout(CALL_EVERY * (SILENT_CALLS + 1), other.run()).await);
        let broken = last(&log, &open).await;
        assert_eq!(broken.mark(), Mark::Last);
        assert!(broken.data().contains("\"lost\""), "{}", broken.data());
        assert_eq!(last(&log, &done).await.mark(), Mark::Open);
        assert_eq!(last(&log, &own).await.mark(), Mark::Open);
        assert!(last(&log, &roll()).await.data().contains("relay"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_calls_is_left_alone() {
        let log = log();
        let (one, other) = (Roll::new(&log), Roll::new(&log));
        let (open, _keeper) = begin(&one, "relay/open").await;
        drop(timeout(CALL_EVERY * 20, join(one.run(), other.run())).await);
        assert_eq!(last(&log, &open).await.mark(), Mark::Open);
    }

    #[tokio::test]
    async fn silence_counts_by_own_calls_and_not_by_time() {
        let log = log();
        let roll = Roll::new(&log);
        let event = |relay: &str, gone| {
            let data = serde_json::to_string(&Call { relay: relay.to_owned(), gone }).unwrap();
            let new = NewEvent { data: data.into(), ..NewEvent::default() };
            Event::new(Topic::new("t").unwrap(), Position::new(1, 1), new)
        };
        let own = || event(&roll.own, false);
        let mut silent = HashMap::new();
        roll.hear(&event("other", false), &mut silent);
        roll.hear(&event("left", false), &mut silent);
        roll.hear(&event("left", true), &mut silent);
        for _ in 1..SILENT_CALLS {
            assert!(roll.hear(&own(), &mut silent).is_empty());
        }
        assert_eq!(roll.hear(&own(), &mut silent), ["other"]);
        assert!(roll.hear(&own(), &mut silent).is_empty(), "once");
    }
}
