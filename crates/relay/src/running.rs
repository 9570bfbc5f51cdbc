//! The answers that this relay reads from the upstream now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use event_log::Topic;
use limits::{Client, Full, Held, Quota, Terms};
use metrics::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::outcome::Outcome;

/// The answers that run on this node.
#[derive(Debug)]
pub(crate) struct Running {
    answers: Mutex<HashMap<Topic, Stop>>,
    quota: Arc<Quota>,
    pub(crate) tasks: TaskTracker,
}

/// An stop to end an answer, with the reason.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    reason: Arc<OnceLock<Outcome>>,
    given: CancellationToken,
}

/// The place of an answer that runs.
#[derive(Debug)]
pub(crate) struct Place {
    running: Arc<Running>,
    topic: Topic,
    pub(crate) stop: Stop,
    _held: Held,
}

impl Running {
    pub(crate) fn new(config: &Config, registry: &Registry) -> Arc<Self> {
        let max = u64::try_from(config.answers_max).unwrap_or(u64::MAX);
        let terms = Terms::new("answers", "stored answers", max, config.rules.share);
        let quota = Quota::new(Terms { flag: "--max-answers, --address-share", ..terms }, registry);
        Arc::new(Self { answers: Mutex::default(), quota, tasks: TaskTracker::new() })
    }

    /// Takes a place for the answer in a topic.
    ///
    /// # Errors
    /// The node or the client has as many as it may.
    pub(crate) fn begin(self: &Arc<Self>, topic: Topic, client: Client) -> Result<Place, Full> {
        let held = self.quota.take(client, 1)?;
        let stop = Stop { reason: Arc::default(), given: CancellationToken::new() };
        self.answers().insert(topic.clone(), stop.clone());
        Ok(Place { running: Arc::clone(self), topic, stop, _held: held })
    }

    /// Ends an answer. Returns false if it does not run here.
    pub(crate) fn cancel(&self, topic: &Topic) -> bool {
        let stop = self.answers().get(topic).cloned();
        stop.inspect(|stop| stop.give(Outcome::Cancelled)).is_some()
    }

    /// Ends all answers, since the node stops.
    pub(crate) fn stop(&self) {
        for stop in self.answers().values() {
            stop.give(Outcome::Stopped);
        }
    }

    /// Returns the number of answers.
    pub(crate) fn len(&self) -> usize {
        self.answers().len()
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Topic, Stop>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stop {
    fn give(&self, reason: Outcome) {
        self.reason.get_or_init(|| reason);
        self.given.cancel();
    }

    /// Waits for the stop, and returns its reason.
    pub(crate) async fn given(&self) -> Outcome {
        self.given.cancelled().await;
        *self.reason.get_or_init(|| Outcome::Cancelled)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.answers().remove(&self.topic);
    }
}
