//! Bounds of histogram buckets, in seconds.

/// From an append to a write on a socket, and other things that should take milliseconds.
pub const LATENCY: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The age of a connection when it closes: from a page that was left at once to a day.
pub const AGE: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];
