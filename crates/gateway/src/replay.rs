//! The rate at which subscribers get events that they had missed.
//!
//! A delivery at the tail is read once for all readers. A replay may be read from the log for one reader
//! alone, again and again, so a client gets a rate for it.

use std::time::Duration;

use event_log::Event;
use limits::{Rate, Rates};

/// The part of an address's rate that one connection gets.
const CONNECTIONS_IN_ADDRESS: u64 = 4;
/// The time whose rate may be used at once, after a pause.
const BURST: Duration = Duration::from_secs(8);
/// Bytes that an address may use at once at least: the missed events of a page full of streams.
const ADDRESS_BURST_MIN: u64 = 64 * 1024 * 1024;
/// Bytes that an event counts besides its data, about as many as its fields have.
const FIELDS_BYTES: usize = 96;

/// The rates of an address and of a connection, in bytes; 0 a second is no limit.
pub(crate) fn rates(per_second: u64) -> Rates {
    let of = |per_second: u64, burst_min: u64| Rate {
        per_second: per_second as f64,
        burst: (per_second as f64 * BURST.as_secs_f64()).max(burst_min as f64),
    };
    let is_limited = per_second > 0;
    let connection = (per_second / CONNECTIONS_IN_ADDRESS).max(1);
    Rates::new(
        None,
        is_limited.then(|| of(per_second, ADDRESS_BURST_MIN)),
        is_limited.then(|| of(connection, ADDRESS_BURST_MIN / CONNECTIONS_IN_ADDRESS)),
    )
}

/// Returns the bytes that events count.
pub(crate) fn weight(events: &[Event]) -> u64 {
    events.iter().map(|event| (event.data().len() + FIELDS_BYTES) as u64).sum()
}
