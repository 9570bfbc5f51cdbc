//! Durations, counted in buckets that are at most 3 % wide.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets for each doubling.
const PARTS: u64 = 32;
const PART_BITS: u32 = PARTS.trailing_zeros();
const BUCKETS: usize = ((64 - PART_BITS as usize) + 1) * PARTS as usize;

/// A distribution of durations, in microseconds. Always 15 KB.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

/// The figures of a distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The number of durations.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// 999 of 1000 are at most this.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(duration);
    }

    /// Counts all that another one has counted.
    pub fn add(&mut self, other: &Histogram) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The duration that `share` (0 to 1) of all are at most; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return Duration::from_micros(upper(index)).min(self.max);
            }
        }
        self.max
    }

    /// The figures for a report.
    pub fn quantiles(&self) -> Quantiles {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        Quantiles {
            count: self.count,
            p50_ms: ms(self.quantile(0.50)),
            p99_ms: ms(self.quantile(0.99)),
            p999_ms: ms(self.quantile(0.999)),
            max_ms: ms(self.max),
        }
    }
}

fn bucket(micros: u64) -> usize {
    let Some(exponent) = micros.checked_ilog2().filter(|e| *e >= PART_BITS) else {
        return usize::try_from(micros).expect("below PARTS");
    };
    let shift = exponent - PART_BITS;
    let part = (micros >> shift) - PARTS;
    usize::try_from(u64::from(shift + 1) * PARTS + part).expect("below BUCKETS")
}

/// The largest duration of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < PARTS {
        return index;
    }
    let shift = index / PARTS - 1;
    ((PARTS + index % PARTS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Histogram, bucket, upper};

    #[test]
    fn bucket_is_at_most_three_percent_wide() {
        for micros in (0..200_000).chain([1 << 40, u64::MAX >> 8]) {
            let upper = upper(bucket(micros));
            assert!(upper >= micros && upper - micros <= micros / 32, "{micros} {upper}");
        }
    }

    #[test]
    fn quantiles_are_where_they_belong() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantiles().max_ms, 0.0);
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        let quantiles = histogram.quantiles();
        assert!((quantiles.p50_ms - 500.0).abs() < 16.0, "{quantiles:?}");
        assert!((quantiles.p99_ms - 990.0).abs() < 31.0, "{quantiles:?}");
        assert_eq!((quantiles.count, quantiles.max_ms), (1000, 1000.0));
    }
}
