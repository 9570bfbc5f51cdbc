//! One answer of the upstream that streams: a task of its own reads it, stores it, and gives it to its caller.
//!
//! An event is stored before its caller gets the piece that completes it. So a caller that is cut off finds
//! everything in the topic that it has seen, and a caller that sees the end can rely on the topic's end.
//!
//! If the log fails, the caller does not pay for it: the answer goes on without being stored.

use std::sync::Arc;

use bytes::Bytes;
use event_log::NewEvent;
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

/// The next thing that happens to an answer.
enum Next {
    Piece(Bytes),
    /// The upstream has ended the answer.
    End,
    /// The answer ends here.
    Over(Outcome),
}

impl Answer {
    /// Reads the answer to its end.
    pub(crate) async fn run(self) {
        let Self { mut upstream, mut decoder, mut store, tap, place, detached, .. } = self;
        let (mut observers, metrics) = (self.observers, self.metrics);
        let topic = store.topic().clone();
        for observer in &mut observers {
            observer.begun(&topic).await;
        }
        let mut ending = None;
        let outcome = {
            let abandoned = abandoned(&tap, detached);
            tokio::pin!(abandoned);
            loop {
                let next = tokio::select! {
                    // Cancel-safe: a piece that was not returned stays in the response. The order comes first,
                    // because an upstream that always has more must not keep the answer from ending.
                    biased;
                    reason = place.stop.given() => Next::Over(reason),
                    () = &mut abandoned => Next::Over(Outcome::Abandoned),
                    piece = upstream.chunk() => match piece {
                        Ok(Some(piece)) => Next::Piece(piece),
                        Ok(None) => Next::End,
                        Err(error) => {
                            tracing::debug!(error = %error.without_url(), "an answer broke off");
                            Next::Over(Outcome::Cut)
                        }
                    },
                };
                let piece = match next {
                    Next::Over(outcome) => break outcome,
                    Next::End => match decoder.finish() {
                        None => break Outcome::Cut,
                        Some(last) => {
                            ending = last;
                            break Outcome::Complete;
                        }
                    },
                    Next::Piece(piece) => piece,
                };
                let events = match decoder.feed(&piece) {
                    Ok(events) => events,
                    Err(error) => {
                        tracing::warn!(%error, "an answer is not stored any more");
                        metrics.callers_cut.inc_by(u64::from(!tap.push(piece)));
                        break Outcome::Unstorable;
                    }
                };
                for observer in &mut observers {
                    observer.events(&topic, &events).await;
                }
                let stored = tokio::select! {
                    biased;
                    stored = store.append(events) => stored,
                    // The log may be away. The upstream does not wait for it; the end has a key of its own.
                    reason = place.stop.given() => break reason,
                };
                metrics.callers_cut.inc_by(u64::from(!tap.push(piece)));
                if let Err(error) = stored {
                    tracing::warn!(%error, "an answer is not stored any more");
                    break Outcome::Unstorable;
                }
            }
        };
        // Only an answer that cannot be stored goes on. Any other request to the upstream ends here, before the
        // log is asked for anything.
        let rest = (outcome == Outcome::Unstorable).then_some(upstream);
        let told = close(&mut store, ending, outcome).await;
        for observer in &mut observers {
            observer.ended(told).await;
        }
        metrics.answers.of(told).inc();
        match rest {
            Some(upstream) => pass_on(upstream, &tap, &place).await,
            None if outcome == Outcome::Complete => tap.finish(Ok(())),
            None => tap.finish(Err(BrokenOff)),
        }
    }
}

/// Ends the topic. Returns the outcome for its readers.
async fn close(store: &mut Store, last: Option<NewEvent>, outcome: Outcome) -> Outcome {
    let ended = match outcome {
        Outcome::Complete => match store.append(last.into_iter().collect()).await {
            Ok(()) => store.end().await,
            lost => lost,
        },
        _ => store.end_broken(outcome.as_str(), outcome.message()).await,
    };
    match ended {
        Ok(()) => outcome,
        Err(error) => {
            // Its name is a secret, so it is not logged.
            tracing::warn!(%error, "the topic of an answer has no end");
            Outcome::Unstorable
        }
    }
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
