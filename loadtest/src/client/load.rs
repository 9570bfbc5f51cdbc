//! A steady stream of events over many topics.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::client::payload::Payload;
use crate::client::publisher::{PublishError, Publisher, Receipt, Target};

/// Publishers at work, each with one connection and topics of its own. So many that an ingest
/// which takes 20 ms an event still keeps up with 3,000 a second.
const PUBLISHERS: usize = 64;

/// A steady stream of events for some topics.
#[derive(Clone, Debug)]
pub struct Load {
    /// The ingest or the log that takes the events.
    pub target: Target,
    /// The topics, served in turn.
    pub topics: Arc<[String]>,
    /// Events a second, over all topics.
    pub rate: u32,
    /// For how long; [`Duration::MAX`] until it is stopped.
    pub duration: Duration,
    /// The size of one event.
    pub event_bytes: usize,
    /// When an event is given up.
    pub deadline: Duration,
    /// Makes the keys of this run differ from those of other runs.
    pub run: String,
    /// Ends the load early, after the events that are on their way.
    pub stop: CancellationToken,
}

/// One event and its fate.
#[derive(Debug)]
pub struct Published {
    /// Index of the topic.
    pub topic: usize,
    /// The event's number in its topic, from 1.
    pub seq: u32,
    /// The receipt, or why there is none.
    pub outcome: Result<Receipt, PublishError>,
}

impl Load {
    /// Publishes everything and calls `done` for each event. The times in the payloads count from
    /// `epoch`.
    ///
    /// Each topic belongs to one publisher that sends its next event after the last one's receipt,
    /// so the order in a topic is kept. An event that was late (ingest was away) is published
    /// as fast as possible afterwards: the total is always rate times duration.
    pub async fn run(self, epoch: Instant, done: impl Fn(Published) + Clone + Send + 'static) {
        let load = Arc::new(self);
        let begin = Instant::now();
        let mut publishers = JoinSet::new();
        for first in 0..PUBLISHERS.min(load.topics.len()) {
            let (load, done) = (Arc::clone(&load), done.clone());
            publishers.spawn(async move { load.publish_share(first, begin, epoch, done).await });
        }
        publishers.join_all().await;
    }

    /// The share of one publisher: every topic whose index leaves the rest `first`.
    async fn publish_share(
        &self,
        first: usize,
        begin: Instant,
        epoch: Instant,
        done: impl Fn(Published),
    ) {
        let mut publisher = Publisher::new(self.target.clone(), self.deadline);
        for seq in 1.. {
            for topic in (first..self.topics.len()).step_by(PUBLISHERS) {
                let turn = u64::from(seq - 1) * self.topics.len() as u64 + topic as u64;
                let due = Duration::from_secs_f64(turn as f64 / f64::from(self.rate));
                if due >= self.duration {
                    return;
                }
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    () = sleep_until(begin + due) => {}
                }
                let name = &self.topics[topic];
                let payload = Payload { seq, sent: epoch.elapsed(), topic: name };
                let key = format!("{}-{topic}-{seq}", self.run);
                let body = payload.encode(self.event_bytes);
                let outcome = publisher.publish(name, &key, body).await;
                done(Published { topic, seq, outcome });
            }
        }
    }
}
