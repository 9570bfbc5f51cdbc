//! Tells the subscribers of a topic that its publisher broke off in the middle of a body.
//!
//! The log stores this only as the successor of the last event that the body has stored: a topic with which
//! another publisher has gone on is not broken.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, AppendError, BreakReason, Mark, NewEvent, Position, Topic, TraceParent};
use metrics::{Counters, Registry, label};
use tokio::time::{sleep, timeout};

use crate::appender::Appender;
use crate::publisher::Publisher;

/// The entry that a topic gets when its publisher breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnBreak {
    /// An entry that says so; another publisher may go on.
    #[default]
    Signal,
    /// Its end.
    End,
}

/// The topic of a body that streams events, and what it gets if the body breaks off.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) topic: Topic,
    pub(crate) on_break: OnBreak,
    pub(crate) trace: Option<TraceParent>,
    /// The last event of the topic that the body has stored. A body without one leaves nothing to tell.
    pub(crate) last: Option<Position>,
}

/// Appends what publishers that broke off leave behind.
#[derive(Debug)]
pub(crate) struct Breaks {
    appender: Arc<Appender>,
    told: Counters<Told>,
}

label! {
    /// The outcome for a body that broke off.
    enum Told as "outcome" {
        /// The log has stored it.
        Stored => "stored",
        /// Another event, the end, or an earlier try was there first.
        Overtaken => "overtaken",
        /// The publisher has no right to do this any more.
        Refused => "refused",
        /// The log did not take it in time.
        Failed => "failed",
    }
}

/// Tries to append, with pauses that double from [`PAUSE`]: longer together than a fail-over takes.
const TRIES_MAX: u32 = 6;
/// The first pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest time for all tries. The body keeps its place among the streams until then, so there are never more
/// that try than places.
const TIME_MAX: Duration = Duration::from_mins(1);

impl Breaks {
    pub(crate) fn new(appender: Arc<Appender>, registry: &Registry) -> Self {
        let help =
            "Bodies that streamed events and broke off, by what became of the word about it.";
        Self { appender, told: registry.counters("publish_breaks_total", help) }
    }

    /// Appends what the body leaves behind.
    pub(crate) async fn tell(
        &self,
        publisher: &Publisher,
        unfinished: Unfinished,
        reason: BreakReason,
    ) {
        let Unfinished { topic, on_break, trace, last: Some(last) } = unfinished else { return };
        let mark = match on_break {
            OnBreak::Signal => Mark::Broken(reason),
            OnBreak::End => Mark::End,
        };
        let event = NewEvent { mark, trace, ..NewEvent::default() };
        let append = Append::new(topic, event);
        let append = Append { follows: Some(last), may_begin: false, ..append };
        let tries = timeout(TIME_MAX, self.try_again_and_again(publisher, append));
        self.told.of(tries.await.unwrap_or(Told::Failed)).inc();
    }

    async fn try_again_and_again(&self, publisher: &Publisher, append: Append) -> Told {
        let topic = append.topic.clone();
        let is_end = append.event.mark.ends();
        let Ok(append) = publisher.take(append) else { return Told::Refused };
        for count in 0..TRIES_MAX {
            if publisher.over().is_some() {
                return Told::Refused;
            }
            match self.appender.append_once(append.clone()).await {
                Ok(receipt) if receipt.duplicate => return Told::Overtaken,
                Ok(_) => {
                    publisher.record(&topic, is_end);
                    return Told::Stored;
                }
                Err(AppendError::Unavailable(_) | AppendError::Full(_)) => {
                    sleep(PAUSE * (1 << count)).await;
                }
                Err(_) => return Told::Overtaken,
            }
        }
        Told::Failed
    }
}
