//! Many topics with one reader each: the cost of an event from its publisher to its reader.
//!
//! Closed loop first, which shows the most that the server can do; then at 30 % of its core.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use super::Options;
use super::round::{SHARE, micros};
use crate::cost::contender::Stack;
use crate::cost::driver::{Driver, Pace, PublishWire, Tally};
use crate::report::histogram::Quantiles;

const WARM_UP: Duration = Duration::from_millis(500);

/// The costs of events to many topics.
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
}

/// Measures one way of publishing, with a stream of every topic open.
pub(super) fn measure(
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
    wire: PublishWire,
) -> Result<(Topics, [Tally; 2])> {
    let connections = match wire {
        PublishWire::Posts => options.publishers,
        PublishWire::Lines => options.streams,
    };
    driver.publish_over(connections, wire)?;
    let window = Pace::Window(options.in_flight);
    driver.publish_to_all_for(window, WARM_UP)?;
    driver.reset();

    let (before, start) = (server.cpu()?, Instant::now());
    driver.publish_to_all_for(window, options.duration)?;
    let seconds = start.elapsed().as_secs_f64();
    let (full, cpu) = (driver.reset(), server.cpu()? - before);
    let events = full.delivered as f64;
    let mut topics = Topics {
        full_us: micros(cpu.all) / events,
        full_redis_us: micros(cpu.redis) / events,
        full_rate: events / seconds,
        ..Topics::default()
    };

    let before = server.cpu()?;
    driver.publish_to_all_for(Pace::Rate(SHARE * 1e6 / topics.full_us), options.duration)?;
    let (part, cpu) = (driver.reset(), server.cpu()? - before);
    let events = part.delivered as f64;
    topics.part_us = micros(cpu.all) / events;
    topics.part_redis_us = micros(cpu.redis) / events;
    topics.part_latency = part.latency.quantiles();
    Ok((topics, [full, part]))
}
