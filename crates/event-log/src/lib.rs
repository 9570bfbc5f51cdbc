//! The domain of Tailwater: a connection is a cursor over an append-only log.
//!
//! A [`Log`] keeps [`Event`]s, numbered without holes: those of one topic, or of all topics of a space. A subscriber is
//! a [`Cursor`]: one [`Position`] for each of its logs, and what it selects there. [`Cursor::next`] reads when there is something after the
//! position and waits when there is not, so live tail, resume, slow reader and long-poll are one loop.
//! Start with `cursor.rs`.
//!
//! Never does I/O; knows no Redis, no HTTP, no serde and no prometheus. The crates that depend on this one
//! store a log and encode an event for the wire.

mod bookmark;
mod cursor;
mod event;
mod fingerprint;
mod gap;
mod key;
mod limit;
mod log;
mod log_name;
mod memory;
mod pattern;
mod position;
mod selection;
mod spaces;
mod tail;
mod topic;
mod wake;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

pub use bookmark::{Advance, BadBookmark, Bookmark};
pub use cursor::wire::InvalidCursor;
pub use cursor::{Cursor, OpenOptions, Opened, Origin, Outcome, Step};
pub use event::{
    BadEventType, BreakReason, Event, EventType, Events, Extra, Mark, NewEvent, TraceParent,
};
pub use fingerprint::Fingerprint;
pub use gap::{Gap, Generation, Reason, classify};
pub use key::{BadKey, Key};
pub use limit::Limit;
pub use log::{Append, AppendError, Bounds, Log, Page, ReadError, Receipt, Seek, Sought};
pub use log_name::LogName;
pub use memory::{MemoryLog, Retention};
pub use pattern::{BadPattern, Pattern};
pub use position::{BadPosition, Position};
pub use selection::Selection;
pub use spaces::{BadSpace, NoSpace, Part, Spaces};
pub use tail::{Recent, Tail};
pub use topic::{BadTopic, Topic};
pub use wake::Wake;
