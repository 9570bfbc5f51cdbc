//! The cost of a delivery with few readers, and with many.

use anyhow::Result;
use serde::Serialize;

use super::Options;
use super::round::micros;
use crate::cost::contender::Stack;
use crate::cost::driver::{Driver, Pace, Tally};

/// The costs with few readers, and with many.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Scale {
    pub(super) few_us: f64,
    pub(super) many_us: f64,
}

/// Measures both; the streams of one are closed before the other's are opened.
pub(super) fn measure(
    server: &Stack,
    driver: &mut Driver,
    options: &Options,
) -> Result<(Scale, [Tally; 2])> {
    let mut once = |readers| -> Result<(f64, Tally)> {
        driver.open(readers, None, driver.published() + 1)?;
        // One event at a time, so that none is written together with another.
        driver.publish_for(Pace::Window(1), options.duration / 10)?;
        driver.reset();
        let before = server.cpu()?;
        driver.publish_for(Pace::Window(1), options.duration)?;
        let (tally, cpu) = (driver.reset(), server.cpu()? - before);
        driver.close();
        Ok((micros(cpu.all) / tally.delivered as f64, tally))
    };
    let (few_us, few) = once(options.few)?;
    let (many_us, many) = once(options.many)?;
    Ok((Scale { few_us, many_us }, [few, many]))
}
