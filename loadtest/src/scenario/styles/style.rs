//! A way in which events reach users, and its cost.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use super::Options;
use crate::cost::contender::{Contender, Stack};
use crate::cost::driver::{Driver, Polling};
use crate::report::histogram::Quantiles;

/// The longest time between two polls.
const SLOW_POLL: Duration = Duration::from_secs(5);
const QUICK_POLL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Poll1,
    Poll5,
    LongPoll,
    Sse,
    WebSocket,
}

/// The measurements of one round, of the server and of the traffic with its users.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct StyleCost {
    /// CPU microseconds a user and event.
    pub(super) cpu_us: f64,
    /// Bytes to a user, an event.
    pub(super) bytes_down: f64,
    /// Bytes from a user, an event.
    pub(super) bytes_up: f64,
    /// Resident bytes a user.
    pub(super) rss_bytes: f64,
    pub(super) latency: Quantiles,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

impl Style {
    pub(super) const ALL: [Self; 5] =
        [Self::Poll1, Self::Poll5, Self::LongPoll, Self::Sse, Self::WebSocket];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Poll1 => "poll, 1 s",
            Self::Poll5 => "poll, 5 s",
            Self::LongPoll => "long-poll",
            Self::Sse => "SSE",
            Self::WebSocket => "WebSocket",
        }
    }

    pub(super) const fn server(self) -> Contender {
        match self {
            Self::WebSocket => Contender::Websocket,
            _ => Contender::Tailwater,
        }
    }

    /// Publishes for a time and waits until every user has every event.
    pub(super) fn measure(
        self,
        server: &Stack,
        options: &Options,
        epoch: Instant,
    ) -> Result<StyleCost> {
        let mut driver = Driver::new(server.endpoint(), options.event_bytes, epoch)?;
        driver.publish(1)?;
        driver.idle(PAUSE)?;
        let empty = server.memory()?;
        match self {
            Self::Poll1 => driver.poll_with(options.users, Polling::Every(QUICK_POLL))?,
            Self::Poll5 => driver.poll_with(options.users, Polling::Every(SLOW_POLL))?,
            Self::LongPoll => driver.poll_with(options.users, Polling::Long)?,
            Self::Sse | Self::WebSocket => {
                driver.open(options.users, None, driver.published() + 1)?;
                driver.idle(PAUSE)?;
            }
        }
        driver.reset();
        let (before, users) = (server.cpu()?, options.users as u64);
        let events = driver.publish_at(options.rate, options.time)?;
        // Up to the time of the event that does not come any more.
        driver.idle(Duration::from_secs_f64(1.0 / options.rate))?;
        let cpu = server.cpu()? - before;
        let (bytes, asked) = driver.traffic();
        let memory = server.memory()?;
        driver.wait_for(events * users, SLOW_POLL + PAUSE)?;
        let tally = driver.reset();
        let deliveries = (events * users) as f64;
        Ok(StyleCost {
            cpu_us: cpu.all.as_secs_f64() * 1e6 / deliveries,
            bytes_down: bytes as f64 / deliveries,
            bytes_up: asked as f64 / deliveries,
            rss_bytes: (memory.rss as f64 - empty.rss as f64) / options.users as f64,
            latency: tally.latency.quantiles(),
            lost: (events * users).saturating_sub(tally.delivered),
            repeated: tally.repeated,
        })
    }
}
