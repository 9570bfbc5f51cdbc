//! Many topics with one reader each: what an event costs from its publisher to its reader.
//!
//! Closed loop first, which is what the server can do; then at a third of that.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use super::Options;
use super::round::micros;
use crate::contender::{Contender, Stack};
use crate::driver::{Driver, Pace, Wire};
use crate::histogram::Quantiles;

/// The load at which latencies are compared: 30 % of the server's core.
const SHARE: f64 = 0.3;
const WARM_UP: Duration = Duration::from_millis(500);

/// What events to many topics cost.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Topics {
    /// CPU microseconds an event of all processes, as fast as it goes.
    pub(super) full_us: f64,
    /// Of that Redis.
    pub(super) full_redis_us: f64,
    /// Events a second.
    pub(super) full_rate: f64,
    /// The same at 30 % load.
    pub(super) part_us: f64,
    pub(super) part_redis_us: f64,
    pub(super) part_latency: Quantiles,
    #[serde(skip)]
    pub(super) lost: u64,
    #[serde(skip)]
    pub(super) repeated: u64,
}

/// Measures both ways of publishing, where there are two.
pub(super) fn measure(
    contender: Contender,
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
) -> Result<(Topics, Option<Topics>)> {
    driver.use_topics(options.topics);
    driver.open_topics()?;
    driver.publish_over(options.publishers, Wire::Posts)?;
    let posts = once(server, driver, options)?;
    let lines = if contender.is_ours() {
        driver.publish_over(options.streams, Wire::Lines)?;
        Some(once(server, driver, options)?)
    } else {
        None
    };
    driver.close()?;
    Ok((posts, lines))
}

fn once(server: &Stack, driver: &mut Driver, options: &Options) -> Result<Topics> {
    let window = Pace::Window(options.in_flight);
    // Every topic's first event makes something.
    driver.publish_to_all_for(window, WARM_UP)?;
    driver.reset();
    let mut topics = Topics::default();

    let (before, start) = (server.cpu()?, Instant::now());
    driver.publish_to_all_for(window, options.duration)?;
    let seconds = start.elapsed().as_secs_f64();
    let (tally, cpu) = (driver.reset(), server.cpu()? - before);
    let events = tally.delivered as f64;
    topics.full_us = micros(cpu.all) / events;
    topics.full_redis_us = micros(cpu.redis) / events;
    topics.full_rate = events / seconds;
    topics.lost += tally.lost;
    topics.repeated += tally.repeated;

    let before = server.cpu()?;
    driver.publish_to_all_for(Pace::Rate(SHARE * 1e6 / topics.full_us), options.duration)?;
    let (tally, cpu) = (driver.reset(), server.cpu()? - before);
    let events = tally.delivered as f64;
    topics.part_us = micros(cpu.all) / events;
    topics.part_redis_us = micros(cpu.redis) / events;
    topics.part_latency = tally.latency.quantiles();
    topics.lost += tally.lost;
    topics.repeated += tally.repeated;
    Ok(topics)
}
