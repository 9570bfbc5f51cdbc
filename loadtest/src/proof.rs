//! The proof that no subscriber lost, repeated or reordered an event.
//!
//! [`audience`] subscribes by the thousand, [`checker`] compares acknowledged events with delivered
//! ones, [`history`] judges a run in which Redis itself may lose events, [`oddities`] counts events
//! that must not happen.

pub mod audience;
pub mod checker;
pub mod history;
pub mod oddities;
