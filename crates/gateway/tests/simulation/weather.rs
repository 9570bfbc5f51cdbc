//! The weather of a schedule: what the network does to messages, commands and connections.

use super::dice::pick;

/// Fault rates, in percent, and delays of the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Notifications that are lost.
    pub(crate) lost: u32,
    /// Notifications that come twice.
    pub(crate) doubled: u32,
    /// Longest delay of a notification.
    pub(crate) late_ms: u64,
    /// Connections that break in the middle of a write, among clients with a bad line.
    pub(crate) broken: u32,
    /// Writes after which a slow client stops for a while.
    pub(crate) tired: u32,
    /// Commands that fail.
    pub(crate) failed: u32,
    /// Commands that are slow.
    pub(crate) slow: u32,
    /// Longest delay of a slow command.
    pub(crate) slow_ms: u64,
    /// Longest time between two steps of a replica.
    pub(crate) lag_ms: u64,
}

impl Weather {
    pub(crate) fn draw() -> Self {
        Self {
            lost: *pick(&[0, 5, 40]),
            doubled: *pick(&[0, 10]),
            late_ms: *pick(&[2, 50, 3000]),
            broken: 10,
            tired: 30,
            failed: *pick(&[0, 2, 20]),
            slow: *pick(&[0, 10, 50]),
            slow_ms: *pick(&[100, 3000]),
            lag_ms: *pick(&[20, 700, 2500]),
        }
    }
}
