//! The cost of events that are published as fast as the server takes them.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use super::Options;
use super::round::micros;
use crate::cost::contender::{Cpu, Stack};
use crate::cost::driver::{Driver, Pace, PublishWire, Tally};

const WARM_UP: Duration = Duration::from_millis(500);

/// The cost of an event, and the events of one core.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Flow {
    /// CPU microseconds an event of all processes.
    pub(super) us: f64,
    /// Of that Redis.
    pub(super) redis_us: f64,
    /// Events a second.
    pub(super) rate: f64,
}

impl Flow {
    fn new(events: f64, cpu: Cpu, time: Duration) -> Self {
        Self {
            us: micros(cpu.all) / events,
            redis_us: micros(cpu.redis) / events,
            rate: events / time.as_secs_f64(),
        }
    }
}

/// Publishes to all topics in turn, each with a reader, over the connections that the driver has:
/// so many events are in flight at any time.
pub(super) fn measure(
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
) -> Result<(Flow, Tally)> {
    let window = Pace::Window(options.in_flight);
    driver.publish_to_all_for(window, WARM_UP)?;
    driver.reset();
    let (before, start) = (server.cpu()?, Instant::now());
    let events = driver.publish_to_all_for(window, options.duration)?;
    let time = start.elapsed();
    Ok((Flow::new(events as f64, server.cpu()? - before, time), driver.reset()))
}

/// Publishes events that nobody reads, each connection to a topic of its own. It publishes the next
/// event, or lines of NDJSON, when it has the receipts for the last.
pub(super) fn measure_intake(
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
    wire: PublishWire,
) -> Result<Flow> {
    let (connections, depth) = match wire {
        PublishWire::Posts => (options.publishers, 1),
        PublishWire::Lines => (options.streams, options.in_flight),
    };
    driver.use_topics(connections);
    driver.publish_over(connections, wire)?;
    driver.publish_for_receipts(depth, WARM_UP)?;
    let (before, start) = (server.cpu()?, Instant::now());
    let events = driver.publish_for_receipts(depth, options.duration)?;
    let time = start.elapsed();
    Ok(Flow::new(events as f64, server.cpu()? - before, time))
}
