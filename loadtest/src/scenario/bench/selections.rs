//! Readers that each select one topic of a space, and readers that select all of them by a pattern.
//!
//! Every part has topics of its own: a server may compare a topic with all its readers when the
//! topic's first event comes, and remember the result.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Options;
use super::flow::{self, Flow};
use crate::cost::contender::{Contender, Stack};
use crate::cost::driver::{Driver, Tally};
use crate::cost::topic::SPACE;

/// Few readers, and those that select by a pattern.
const FEW: usize = 100;
const WATCHERS: usize = 100;

/// The costs of an event that one reader selects by name.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Selections {
    /// Among many readers: CPU microseconds an event.
    pub(super) many_us: f64,
    /// Among few.
    pub(super) few_us: f64,
    /// Among many, while others select it by a pattern: CPU microseconds a delivery.
    pub(super) pattern_us: f64,
}

/// Measures all three; the streams of one are closed before the next one's are opened.
pub(super) fn measure(
    contender: Contender,
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
) -> Result<(Selections, [Tally; 3])> {
    let pattern = contender.pattern().context("the server knows no patterns")?;
    let mut part = |name: &str, readers, watchers| -> Result<(Flow, Tally)> {
        driver.use_topics_under(&format!("{SPACE}{name}-"), readers);
        driver.open_topics(0)?;
        driver.open_watchers(pattern, watchers)?;
        let measured = flow::measure(server, driver, options)?;
        driver.close();
        Ok(measured)
    };
    let (many, many_tally) = part("many", options.selecting, 0)?;
    let (few, few_tally) = part("few", FEW.min(options.selecting), 0)?;
    let (pattern, pattern_tally) = part("pattern", options.selecting, WATCHERS)?;
    let selections = Selections {
        many_us: many.us,
        few_us: few.us,
        pattern_us: pattern.us / (1 + WATCHERS) as f64,
    };
    Ok((selections, [many_tally, few_tally, pattern_tally]))
}
