//! Random choices. All come from the generator of this thread, which the product uses too.

use std::ops::Range;
use std::time::Duration;

pub(crate) fn chance(percent: u32) -> bool {
    fastrand::u32(0..100) < percent
}

pub(crate) fn millis(range: Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}

pub(crate) fn pick<T>(of: &[T]) -> &T {
    &of[fastrand::usize(0..of.len())]
}
