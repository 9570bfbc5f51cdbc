//! The Mercure protocol, without a socket: requests become values, and values become answers.
//!
//! A hub is a space of Tailwater: one log for all its topics. A [`Subscription`] is parsed from the head of a GET, an
//! [`Update`] from the form of a POST ([`publication`]), and [`Claims`] from the claims of a token that somebody else
//! has verified. An [`Update`] is stored as the `attributes` of an event and written as a frame. Every refusal
//! has its status and its headers in one file, `refusal.rs`.
//!
//! Two dialects are alive, 0.x and 1.0; [`Dialect`] holds the table of their differences.
//!
//! Never does I/O, verifies no signature, and knows no HTTP framework. Absent: replay and presence, which belong to a
//! service; encryption, which is between publishers and subscribers.

pub mod active;
pub mod discovery;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod publication;

mod claims;
mod cursor;
mod dialect;
mod form;
mod hub;
mod id;
mod name;
mod pattern;
mod refusal;
mod selector;
mod settings;
mod subscription;
mod template;
mod text;
mod token;
mod topic;
mod update;

pub use claims::{BadClaims, Claims};
pub use cursor::Cursor;
pub use dialect::Dialect;
pub use form::BadField;
pub use hub::{BadHub, Hub};
pub use id::{BadId, Id};
pub use name::{BadSpace, Space};
pub use pattern::BadPattern;
pub use refusal::{BODY_TYPE, Refusal};
pub use selector::{BadSelector, Kind, Selector};
pub use settings::Settings;
pub use subscription::{BadSubscription, Head, Subscription};
pub use text::BadText;
pub use token::{BadToken, Carrier, Carriers, Token};
pub use topic::{BadTopic, Topic};
pub use update::{BadUpdate, Update};
