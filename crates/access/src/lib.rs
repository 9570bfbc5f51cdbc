//! Access: who a client is, what it may do, and until when.
//!
//! A client brings [`Credentials`]. [`Access::admit`] turns them into a [`Grant`]: a [`Principal`] and the
//! patterns of topics that it may subscribe to, publish to and end. A service asks the grant about each topic
//! before it acts, and ends what it does for a principal at the grant's deadline or revocation.
//!
//! Knows neither HTTP nor Redis: a service takes the credentials from a request and forms the refusal.

pub mod audit;

mod claims;
mod config;
mod credentials;
mod decision;
mod denied;
mod foreign;
mod grant;
mod history;
mod issuer;
mod key;
mod key_server;
mod machines;
mod pattern;
mod preset;
mod principal;
mod quotas;
mod revocations;
#[cfg(test)]
mod sample;
mod tickets;
mod timestamp;
mod tokens;

pub use async_trait::async_trait;
pub use config::{BadConfig, Config, IssuerConfig, OneOrMany, Plan};
pub use credentials::{Credentials, Page};
pub use decision::{Access, Settings};
pub use denied::{Carrier, Denied, Reason};
pub use foreign::Foreign;
pub use grant::{Grant, Right, Rights};
pub use history::{BadHistory, HistoryExtent};
pub use issuer::{ALGORITHMS, BadClaimName, ClaimName, Issuer, KeySource, MappedClaim, Refreshed};
pub use key::{BadKey, KEYS_BYTES_MAX, Key, KeyRing, SECRET_BYTES_MIN, parse_set};
pub use key_server::{Fetch, KeyServer};
pub use machines::{BadMachines, Machines, machine_hash};
pub use pattern::{BadPattern, Pattern, Patterns};
pub use preset::Preset;
pub use principal::{Principal, hash_of_subject};
pub use quotas::Quotas;
pub use revocations::{
    BadRevocation, REVOCATIONS_TOPIC, Revocation, Revocations, Revoked, TooManyRevocations,
};
pub use tickets::{BadTicketKeys, Form, NoTicket, Ticket, TicketKeys, Tickets};
pub use timestamp::Timestamp;
pub use tokens::Tokens;
