//! The events of a trial: the same numbers in a topic for each format.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::manifest::Format;
use super::score::mark;
use crate::client::endpoint::Endpoint;
use crate::client::http;

/// The pause between two events of a topic.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause before an event is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// The longest time for one event, a restart of Redis included.
const DEADLINE: Duration = Duration::from_secs(30);

/// A topic of a trial and the shape of its events.
#[derive(Debug)]
pub(super) struct FormatTopic<'a> {
    pub(super) topic: String,
    pub(super) format: &'a Format,
}

/// Publishes to all topics of a trial.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    http: http::Client,
    topics: Vec<FormatTopic<'a>>,
    /// The number of the last event.
    published: u32,
    /// The number of the last request, for the keys.
    sent: u32,
}

impl<'a> Feed<'a> {
    /// Publishes the events that come before all others.
    pub(super) async fn begin(
        ingest: impl Into<Endpoint>,
        topics: Vec<FormatTopic<'a>>,
    ) -> Result<Feed<'a>> {
        let mut feed = Feed { http: http::Client::new(ingest), topics, published: 0, sent: 0 };
        for index in 0..feed.topics.len() {
            let format = feed.topics[index].format;
            for data in &format.first {
                feed.publish(index, data.clone(), &typed(format.kind.as_deref())).await?;
            }
        }
        Ok(feed)
    }

    /// The number of events in each topic, without the first and the last ones.
    pub(super) fn published(&self) -> u32 {
        self.published
    }

    /// Publishes so many events to each topic.
    pub(super) async fn run(&mut self, events: u32) -> Result<()> {
        for _ in 0..events {
            self.tick().await?;
        }
        Ok(())
    }

    /// Publishes until it is told to stop.
    pub(super) async fn run_until(&mut self, stop: watch::Receiver<bool>) -> Result<()> {
        while !*stop.borrow() {
            self.tick().await?;
        }
        Ok(())
    }

    /// Publishes the last events and ends all topics.
    pub(super) async fn end(&mut self) -> Result<()> {
        for index in 0..self.topics.len() {
            let format = self.topics[index].format;
            let kind = format.last_type.as_deref().or(format.kind.as_deref());
            for data in &format.last {
                self.publish(index, data.clone(), &typed(kind)).await?;
            }
            self.publish(index, String::new(), "&end=true").await?;
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<()> {
        self.published += 1;
        for index in 0..self.topics.len() {
            let format = self.topics[index].format;
            let data = format.each.replace('%', &mark(self.published));
            self.publish(index, data, &typed(format.kind.as_deref())).await?;
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// Sends an event with this parameter until it is stored.
    async fn publish(&mut self, index: usize, data: String, parameter: &str) -> Result<()> {
        let topic = &self.topics[index].topic;
        let path = format!("/v1/events?topic={topic}{parameter}");
        self.sent += 1;
        let key = format!("{topic}-{}", self.sent);
        let headers = [("idempotency-key", &*key), ("content-type", "text/plain")];
        let until = Instant::now() + DEADLINE;
        loop {
            let last = match self.http.post(&path, &headers, data.clone()).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!("{}: {}", answer.status, answer.text()),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > until {
                bail!("an event of {topic} was not stored within {DEADLINE:?}: {last}");
            }
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// The parameter for the type of an event.
fn typed(kind: Option<&str>) -> String {
    kind.map(|kind| format!("&type={kind}")).unwrap_or_default()
}
