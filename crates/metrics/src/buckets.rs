//! Bounds of histogram buckets, in seconds.

/// The time from an append to a write on a socket, and other times of milliseconds.
pub const LATENCY: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The age of the events that a client missed, to compare with `--history-age`: from an immediate
/// reconnect to a week, finer below the default of a day.
pub const HISTORY_AGE: &[f64] = &[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 72_000.0, 86_400.0, 604_800.0,
];

/// The number of events that a client missed, to compare with `--history-events`: finer below the
/// default of a thousand.
pub const HISTORY_EVENTS: &[f64] =
    &[1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 800.0, 1_000.0, 2_500.0, 10_000.0, 100_000.0];

/// The age of a connection when it closes: from a page left immediately to a day.
pub const AGE: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];
