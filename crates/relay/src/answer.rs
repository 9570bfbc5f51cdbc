//! One answer of the upstream that streams: a task of its own reads it, stores it, and gives it to its caller.
//!
//! An event is stored before its caller gets the piece that completes it. So a caller that is cut off finds
//! everything in the topic that it has seen, and a caller that sees the end can rely on the topic's end.
//!
//! If the log fails, the caller does not pay for it: the answer goes on without being stored.

use std::sync::Arc;
use std::time::Duration;

use event_log::{NewEvent, Topic};
use futures_util::future::join;
use metrics::Label as _;
use reqwest::Response;
use tokio::time::sleep;

use crate::config::Detached;
use crate::decode::Decoder;
use crate::metrics::Metrics;
use crate::observer::Observe;
use crate::outcome::Outcome;
use crate::running::Place;
use crate::store::Store;
use crate::tee::{BrokenOff, Tap};

/// An answer that is being read.
pub(crate) struct Answer {
    pub(crate) upstream: Response,
    pub(crate) decoder: Decoder,
    pub(crate) store: Store,
    pub(crate) tap: Tap,
    pub(crate) place: Place,
    pub(crate) detached: Detached,
    /// The parties that look at the events for names of their own.
    pub(crate) observers: Vec<Box<dyn Observe>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The end of an answer, for its readers.
struct Ending {
    outcome: Outcome,
    /// The last event of a complete answer, which only the end of the body completed.
    last: Option<NewEvent>,
}

/// The time between two tries to end a topic that the log did not end at once.
const END_EVERY: Duration = Duration::from_secs(10);
/// Tries to end a topic: for half an hour.
const END_TRIES: usize = 180;

impl Answer {
    /// Reads the answer to its end.
    pub(crate) async fn run(mut self) {
        let topic = self.store.topic().clone();
        for observer in &mut self.observers {
            observer.begun(&topic).await;
        }
        let ending = self.read(&topic).await;
        let Self { upstream, mut store, tap, place, mut observers, metrics, .. } = self;
        metrics.answers.of(ending.outcome).inc();
        let is_ended = match ending.outcome {
            // The caller does not wait for a log that is away.
            Outcome::Unstorable => {
                let passed = pass_on(upstream, &tap, &place);
                join(end(&mut store, &ending), passed).await.0
            }
            outcome => {
                // The request to the upstream ends here, before the log is asked for anything.
                drop(upstream);
                let is_ended = end(&mut store, &ending).await;
                let is_complete = outcome == Outcome::Complete;
                tap.finish(if is_complete { Ok(()) } else { Err(BrokenOff) });
                is_ended
            }
        };
        if is_ended || end_later(&mut store, &ending).await {
            for observer in &mut observers {
                observer.ended().await;
            }
        }
    }

    /// Stores the answer and gives it to the caller, until it ends in one way or another.
    async fn read(&mut self, topic: &Topic) -> Ending {
        let Self { upstream, decoder, store, tap, place, .. } = self;
        let ending = |outcome| Ending { outcome, last: None };
        let abandoned = abandoned(tap, self.detached);
        tokio::pin!(abandoned);
        loop {
            let piece = tokio::select! {
                // Cancel-safe: a piece that was not returned stays in the response. The order to stop comes first,
                // because an upstream that always has more must not keep the answer from ending.
                biased;
                reason = place.stop.given() => return ending(reason),
                () = &mut abandoned => return ending(Outcome::Abandoned),
                piece = upstream.chunk() => piece,
            };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => match decoder.finish() {
                    Some(last) => return Ending { outcome: Outcome::Complete, last },
                    None => return ending(Outcome::Cut),
                },
                Err(error) => {
                    tracing::debug!(error = %error.without_url(), "an answer broke off");
                    return ending(Outcome::Cut);
                }
            };
            let stored = match decoder.feed(&piece) {
                Ok(events) => {
                    for observer in &mut self.observers {
                        observer.events(topic, &events).await;
                    }
                    tokio::select! {
                        biased;
                        stored = store.append(events) => stored.map_err(|error| error.to_string()),
                        // The log may be away. The upstream does not wait for it; the end has a key of its own.
                        reason = place.stop.given() => return ending(reason),
                    }
                }
                Err(error) => Err(error.to_string()),
            };
            if !tap.push(piece) {
                self.metrics.callers_cut.inc();
            }
            if let Err(error) = stored {
                tracing::warn!(error, "an answer is not stored any more");
                return ending(Outcome::Unstorable);
            }
        }
    }
}

/// Ends the topic. Returns false if the log did not store the end.
async fn end(store: &mut Store, ending: &Ending) -> bool {
    let ended = match ending.outcome {
        Outcome::Complete => match store.append(ending.last.iter().cloned().collect()).await {
            Ok(()) => store.end().await,
            lost => lost,
        },
        broken => store.end_broken(broken.as_str(), broken.message()).await,
    };
    // Its name is a secret, so it is not logged.
    ended.inspect_err(|error| tracing::warn!(%error, "the topic of an answer has no end")).is_ok()
}

/// Ends a topic when the log is back.
async fn end_later(store: &mut Store, ending: &Ending) -> bool {
    for _ in 0..END_TRIES {
        sleep(END_EVERY).await;
        if end(store, ending).await {
            return true;
        }
    }
    false
}

/// Gives the caller the rest of an answer that is not stored, for as long as there is a caller.
async fn pass_on(mut upstream: Response, tap: &Tap, place: &Place) {
    loop {
        let piece = tokio::select! {
            biased;
            _ = place.stop.given() => return tap.finish(Err(BrokenOff)),
            () = tap.gone() => return,
            piece = upstream.chunk() => piece,
        };
        match piece {
            Ok(Some(piece)) => drop(tap.push(piece)),
            Ok(None) => return tap.finish(Ok(())),
            Err(_) => return tap.finish(Err(BrokenOff)),
        }
    }
}

/// Waits until the answer has been without its caller for too long.
async fn abandoned(tap: &Tap, detached: Detached) {
    tap.gone().await;
    match detached {
        Detached::Cancel => {}
        Detached::For(time) => sleep(time).await,
    }
}
