//! The delay of an event through Redis, at one rate for all servers.
//!
//! The rate takes 30 % of a core on the server to which an event costs most, so no server is near
//! its end.

use anyhow::Result;
use serde::Serialize;

use super::Options;
use super::flow;
use super::round::{SHARE, micros};
use crate::cost::contender::Stack;
use crate::cost::driver::{Driver, Pace, PublishWire, Tally};
use crate::report::histogram::Quantiles;

/// The events of the phase.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Steady {
    /// Events a second.
    pub(super) rate: f64,
    /// CPU microseconds an event of all processes.
    pub(super) us: f64,
    /// From before an event is published until its reader has it.
    pub(super) latency: Quantiles,
}

/// The rate for servers to which an event costs so many CPU microseconds, as fast as it goes.
pub(super) fn rate(costs: &[f64]) -> Option<f64> {
    let most = costs.iter().copied().reduce(f64::max)?;
    Some(SHARE * 1e6 / most)
}

/// Measures the cost of an event as fast as it goes.
pub(super) fn cost(server: &Stack, driver: &mut Driver, options: &Options) -> Result<f64> {
    open(driver, options)?;
    Ok(flow::measure(server, driver, options)?.0.us)
}

/// Publishes to all topics in turn at this rate.
pub(super) fn measure(
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
    rate: f64,
) -> Result<(Steady, Tally)> {
    open(driver, options)?;
    driver.publish_to_all_for(Pace::Rate(rate), options.duration / 10)?;
    driver.reset();
    let before = server.cpu()?;
    let events = driver.publish_to_all_for(Pace::Rate(rate), options.duration)?;
    let (tally, cpu) = (driver.reset(), server.cpu()? - before);
    let us = micros(cpu.all) / events as f64;
    Ok((Steady { rate, us, latency: tally.latency.quantiles() }, tally))
}

/// Opens a stream of every topic.
fn open(driver: &mut Driver, options: &Options) -> Result<()> {
    driver.close();
    driver.use_topics(options.topics);
    driver.open_topics(0)?;
    driver.publish_over(options.publishers, PublishWire::Posts)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn the_rate_is_that_of_the_server_with_the_dearest_events() {
        assert_eq!(rate(&[30.0, 60.0, 40.0]), Some(5000.0));
        assert_eq!(rate(&[]), None);
    }
}
