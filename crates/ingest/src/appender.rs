//! The only access of ingest to the log. Bounds every append in time, and counts its events.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, AppendError, Log, Position, Receipt, Topic};
use metrics::{Counters, Histogram, IntCounter, Registry, buckets};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::Config;
use crate::error::Error;
use crate::new_topics::{Beginner, NewTopics};
use crate::outcome::Outcome;
use crate::publish_rate::PublishRate;
use crate::publisher::Publisher;

/// Appends events and returns a receipt or an error for each.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) log: Arc<dyn Log>,
    timeout: Duration,
    new_topics: NewTopics,
    publish_rate: PublishRate,
    published: Counters<Outcome>,
    published_bytes: IntCounter,
    seconds: Histogram,
}

/// A receipt as the publisher reads it: the log holds the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ack {
    topic: String,
    id: String,
    duplicate: bool,
    #[serde(skip)]
    pub(crate) position: Position,
}

/// The answer to the publisher of one event.
pub(crate) type Answer = Result<Ack, Error>;

impl Appender {
    pub(crate) fn new(log: Arc<dyn Log>, config: &Config, registry: &Registry) -> Self {
        Self {
            log,
            timeout: config.append_timeout,
            new_topics: NewTopics::new(config, registry),
            publish_rate: PublishRate::new(config, registry),
            published: registry
                .counters("events_published_total", "Events that publishers sent, by outcome."),
            published_bytes: registry
                .counter("published_bytes_total", "Bytes of the data of events that were stored."),
            seconds: registry.histogram(
                "publish_seconds",
                "Time the log took for an append of one or more events.",
                buckets::LATENCY,
            ),
        }
    }

    /// Appends the well-formed events that a party may publish as one batch, and returns an answer for every
    /// event, in order. None is appended once the party's right has ended.
    ///
    /// An answer is an acknowledgement only if the log gave a receipt. A log that does not answer in time
    /// may still store the events, like a log that is unavailable.
    pub(crate) async fn publish(
        &self,
        publisher: &Publisher,
        events: Vec<Result<Append, Error>>,
    ) -> Vec<Answer> {
        let mut batch = Vec::with_capacity(events.len());
        let has_some = events.iter().any(Result::is_ok);
        let over = if has_some { publisher.over() } else { None };
        let mut full: Option<Error> = None;
        let mut take = |append: Append| {
            let append = over.clone().map_or_else(|| publisher.take(append), Err)?;
            // After an event beyond the rate none is stored, so that its retry keeps the order.
            if let Some(full) = &full {
                return Err(Error::not_tried(full));
            }
            self.publish_rate
                .take(&publisher.grant, append.event.data.len())
                .inspect_err(|error| full = Some(error.clone()))?;
            let (topic, is_end) = (append.topic.clone(), append.event.mark.ends());
            let bytes = append.event.data.len() as u64;
            batch.push(append);
            Ok((topic, is_end, bytes))
        };
        let topics: Vec<_> = events.into_iter().map(|event| event.and_then(&mut take)).collect();
        let mut results = self.append(Beginner::of(publisher), batch).await.into_iter();
        let answers: Vec<_> = topics
            .into_iter()
            .map(|topic| {
                let (topic, is_end, bytes) = topic?;
                let result = results.next().expect("append answers for every event");
                let ack = Ack::new(&topic, result?);
                if !ack.duplicate {
                    self.published_bytes.inc_by(bytes);
                }
                publisher.record(&topic, is_end);
                Ok(ack)
            })
            .collect();
        for answer in &answers {
            self.count(answer);
        }
        answers
    }

    /// Publishes a batch of any length, with `at_once` events in each append. Stops after an error that asks
    /// for a retry, so that no later event is stored before the one that is retried.
    pub(crate) async fn publish_in_order(
        &self,
        publisher: &Publisher,
        events: Vec<Result<Append, Error>>,
        at_once: usize,
    ) -> Vec<Answer> {
        let mut answers: Vec<Answer> = Vec::with_capacity(events.len());
        let mut stopped = None;
        let mut events = events.into_iter();
        while events.len() > 0 {
            let chunk = events.by_ref().take(at_once.max(1));
            let chunk = chunk.map(|event| match &stopped {
                None => event,
                Some(error) => Err(event.err().unwrap_or_else(|| Error::not_tried(error))),
            });
            answers.extend(self.publish(publisher, chunk.collect()).await);
            stopped = transient(&answers).cloned();
        }
        answers
    }

    /// Appends an event of the node's own.
    ///
    /// # Errors
    /// The log has not stored it.
    pub(crate) async fn append_own(&self, append: Append) -> Result<(), Error> {
        let _receipt = self.append_once(append).await?;
        Ok(())
    }

    /// Appends an event that no publisher waits for.
    ///
    /// # Errors
    /// The log has not stored it, or does not say so in time.
    pub(crate) async fn append_once(&self, append: Append) -> Result<Receipt, AppendError> {
        let result = timeout(self.timeout, self.log.append(vec![append])).await;
        let late = || AppendError::Unavailable(format!("no answer within {:?}", self.timeout));
        let result = result.map_or_else(|_| Some(Err(late())), |mut results| results.pop());
        result.expect("a log answers for every event")
    }

    /// Counts an event that was refused before it could be appended.
    pub(crate) fn refused(&self, error: &Error) {
        if let Some(outcome) = error.code().outcome() {
            self.published.of(outcome).inc();
        }
    }

    async fn append(
        &self,
        beginner: Beginner,
        mut batch: Vec<Append>,
    ) -> Vec<Result<Receipt, Error>> {
        let count = batch.len();
        if count == 0 {
            return Vec::new();
        }
        let tokens = self.new_topics.take(beginner, &mut batch);
        let start = Instant::now();
        let results = match timeout(self.timeout, self.log.append(batch)).await {
            Ok(results) => results,
            Err(_) => {
                let late = AppendError::Unavailable(format!("no answer within {:?}", self.timeout));
                vec![Err(late); count]
            }
        };
        self.seconds.observe(start.elapsed().as_secs_f64());
        assert_eq!(results.len(), count, "a log answers for every event of a batch");
        self.new_topics.settle(tokens, &results);
        let answer = |result: Result<_, _>| match result {
            Err(AppendError::NewTopic { .. }) => Err(self.new_topics.refuse(tokens)),
            result => Ok(result?),
        };
        results.into_iter().map(answer).collect()
    }

    fn count(&self, answer: &Answer) {
        match answer {
            Ok(Ack { duplicate: false, .. }) => self.published.of(Outcome::Stored).inc(),
            Ok(Ack { duplicate: true, .. }) => self.published.of(Outcome::Duplicate).inc(),
            Err(error) => self.refused(error),
        }
    }
}

/// Returns the first error that asks for a retry.
fn transient(answers: &[Answer]) -> Option<&Error> {
    answers.iter().filter_map(|answer| answer.as_ref().err()).find(|e| e.code().is_transient())
}

impl Ack {
    /// Returns true if the event is one of this topic.
    pub(crate) fn is_of(&self, topic: &Topic) -> bool {
        self.topic == topic.as_str()
    }

    pub(crate) fn new(topic: &Topic, Receipt { position, duplicate }: Receipt) -> Self {
        Self { topic: topic.to_string(), id: position.to_string(), duplicate, position }
    }
}
