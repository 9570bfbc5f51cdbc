//! The suite that every [`Log`] passes: the contract, as checks that fail by name.
//!
//! A crate that brings a log implements [`Lab`] and expands [`conformance!`](crate::conformance) in a
//! test, which makes one `#[tokio::test]` a check:
//!
//! ```ignore
//! async fn lab() -> RedisLab { … }
//! event_log::conformance!(lab);
//! ```
//!
//! `model` then compares random interleavings with what ought to have happened.
//!
//! Each check names topics that nobody else uses. None asserts how fast anything is: they wait for
//! what must come, and conclude that nothing came only from what came instead.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::{Log, Retention, Topic};

mod order;

/// A log under test, and the hands that its store is mistreated with.
///
/// Every log of a lab is to be opened with [`RETENTION`] or more, and to notice within two seconds
/// what its feed did not tell it.
#[async_trait]
pub trait Lab: Send + Sync {
    /// The log of one node, the same at each call.
    fn log(&self) -> Arc<dyn Log>;

    /// The log of another node over the same store, which has not seen any topic yet. A log that
    /// lives in one process has no other node and answers itself.
    async fn second(&self) -> Arc<dyn Log>;

    /// Wipes the store behind the logs' backs. Returns when the store's clock has passed the last
    /// position given out. No two labs that run at the same time may share what this wipes.
    async fn flush(&self);

    /// Drops all but the newest `keep` events of a topic from the store, exactly.
    async fn trim(&self, topic: &Topic, keep: usize);

    /// Set if the log ages by tokio's clock, exactly as said: `model` then moves a paused clock.
    fn ageing(&self) -> Option<Retention> {
        None
    }
}

/// What the suite needs a log to keep.
pub const RETENTION: Retention = Retention {
    events: 10_000,
    age: Duration::from_hours(1),
    topic: Duration::from_hours(2),
    key: Duration::from_mins(10),
};

/// How long a check waits for what must come. Generous: a slow machine is no failure.
const DEADLINE: Duration = Duration::from_secs(20);

/// Calls a macro with every check, as `module::name`: the one list of them. A check that is not in it
/// is dead code, which the compiler reports.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_checks {
    ($then:path { $($with:tt)* }) => {
        $then! { { $($with)* }
            order {
                numbers_are_dense_and_positions_rise
            }
        }
    };
}

/// Makes a `#[tokio::test]` of each check, for the lab that an `async fn() -> impl Lab` makes anew
/// each time. The calling crate depends on tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance {
    ($lab:path) => {
        $crate::conformance_checks! { $crate::conformance_tests { $lab } }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ({ $lab:path } $($module:ident { $($check:ident)* })*) => { $($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::conformance::check(stringify!($check), &$lab().await).await;
        }
    )*)* };
}

macro_rules! dispatch {
    ({ $name:ident $lab:ident } $($module:ident { $($check:ident)* })*) => {
        match $name {
            $($( stringify!($check) => Box::pin($module::$check($lab)).await, )*)*
            _ => panic!("there is no check {}", $name),
        }
    };
}

/// Runs one check of the suite, which panics if the log fails it.
///
/// # Panics
/// If the log does not keep the contract.
pub async fn check(name: &str, lab: &dyn Lab) {
    crate::conformance_checks! { dispatch { name lab } }
}

/// A topic that no other check, process or run uses.
fn topic(label: &str) -> Topic {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("check/{label}/{}-{}-{count}", process::id(), now.as_nanos());
    Topic::new(&name).expect("a label is short and made of letters")
}
