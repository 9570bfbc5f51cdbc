//! The members of topics on all nodes, and the news of those who join and leave.
//!
//! A node keeps the members that have a stream on it (`local.rs`), and reports those who came and left to a
//! [`Store`] once a second, in batches (`presence.rs`). The store knows the members of all nodes, each held by
//! the lease of its node. Its answer brings the changes of all nodes, which the node gives to the watchers of
//! each topic (`room.rs`).
//!
//! A member that leaves and comes back within the grace has not left, on whatever node. Knows no HTTP and no
//! Redis: a member's description is a text that nobody here reads.

mod local;
mod member;
mod memory;
mod presence;
mod room;
mod store;

pub use member::{BadMemberId, Member, MemberId};
pub use memory::MemoryStore;
pub use presence::{Membership, Presence, REPORT_EVERY};
pub use room::{News, Watcher};
pub use store::{
    Away, Change, Counts, LISTED_MAX, NAMED_MAX, Report, Store, TOPICS_MAX, Update, View,
};
