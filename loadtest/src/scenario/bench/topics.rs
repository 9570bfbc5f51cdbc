//! Many topics with one reader each: the cost of an event from its publisher to its reader.
//!
//! Closed loop first, which shows the most that the server can do; then at 30 % of its core.

use anyhow::Result;
use serde::Serialize;

use super::round::{SHARE, micros};
use super::{Options, flow};
use crate::cost::contender::Stack;
use crate::cost::driver::{Driver, Pace, PublishWire, Tally};
use crate::report::histogram::Quantiles;

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
    let (flow, full) = flow::measure(server, driver, options)?;
    let mut topics = Topics {
        full_us: flow.us,
        full_redis_us: flow.redis_us,
        full_rate: flow.rate,
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
