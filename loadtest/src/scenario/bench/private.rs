//! Readers that each have a token and a topic of their own.

use anyhow::Result;
use tokio::time::Instant;

use super::Options;
use super::flow::{self, Flow};
use crate::cost::contender::Stack;
use crate::cost::driver::{Driver, PublishWire, Tally};

/// Measures the cost of an event, from its publisher to the one reader that may have it.
pub(super) fn measure(server: &Stack, options: &Options, epoch: Instant) -> Result<(Flow, Tally)> {
    let endpoint = server.endpoint().with_private_topics()?;
    let mut driver = Driver::reading(endpoint, options.event_bytes, epoch)?;
    driver.use_topics(options.private);
    driver.open_topics(0)?;
    driver.publish_over(options.publishers, PublishWire::Posts)?;
    flow::measure(server, &mut driver, options)
}
