//! The suite that every [`Log`] passes: one named check for each rule of the contract.
//!
//! A crate with a log implements [`Lab`] and expands [`conformance!`](crate::conformance) in a test, which
//! generates one `#[tokio::test]` for each check:
//!
//! ```ignore
//! async fn lab() -> RedisLab { … }
//! event_log::conformance!(lab);
//! ```
//!
//! [`model`] compares random interleavings with a model of the log.
//!
//! Each check uses topics of its own. No check asserts a timing: a check waits for the expected step, and
//! proves that a step did not come by a later step that came instead.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Log, LogName, Retention, Spaces};

mod begin;
mod bookmarks;
mod broken;
mod delete;
pub mod dice;
mod end;
mod gaps;
mod garbage;
pub mod history;
mod keys;
pub mod ledger;
mod live;
pub mod model;
mod order;
mod pages;
pub mod reader;
mod reopen;
mod resume;
mod seek;
mod several;
mod spaces;
mod stage;

/// A log under test, with functions that damage its store.
///
/// A lab opens every log with [`RETENTION`] or more, and with [`spaces`]. Its logs notice within two seconds an event that the
/// feed has lost.
#[async_trait]
pub trait Lab: Send + Sync {
    /// The log of one node, the same at each call.
    fn log(&self) -> Arc<dyn Log>;

    /// The log of a new node over the same store, which has not seen any topic. A log that lives in one
    /// process has no other node and returns itself.
    async fn second(&self) -> Arc<dyn Log>;

    /// Wipes the store without telling the logs. Returns when the store's clock has passed the last position
    /// given out. Labs that run at the same time must not share a store.
    async fn flush(&self);

    /// Drops all but the newest `keep` events of a log from the store, exactly.
    async fn trim(&self, log: &LogName, keep: usize);

    /// Set if the log ages exactly by tokio's clock. [`model`] then advances a paused clock.
    fn ageing(&self) -> Option<Retention> {
        None
    }
}

/// The retention that the suite needs.
pub const RETENTION: Retention = Retention {
    events: 10_000,
    space_events: 10_000,
    age: Duration::from_hours(1),
    topic: Duration::from_hours(2),
    key: Duration::from_mins(10),
};

/// The spaces that the suite needs: each lab opens every log with them. Each check has its own, because checks of one lab
/// share a store.
///
/// # Panics
/// Never.
#[must_use]
pub fn spaces() -> Spaces {
    Spaces::new(SPACES).expect("they are prefixes")
}

const SPACES: [&str; 10] = [
    "check-order/",
    "check-select/",
    "check-resume/",
    "check-quiet/",
    "check-gap/",
    "check-end/",
    "check-keys/",
    "check-also/",
    "check-label/",
    "check-model/",
];

/// The longest wait of a check for an expected step. Generous, so that a slow machine does not fail.
const DEADLINE: Duration = Duration::from_secs(20);

/// Calls a macro with every check, as `module::name`. A check that is missing in this list is dead code,
/// which the compiler reports.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_checks {
    ($then:path { $($with:tt)* }) => {
        $then! { { $($with)* }
            order {
                numbers_are_dense_and_positions_rise
                a_batch_is_answered_in_order_and_a_refusal_stops_nothing
                two_publishers_make_one_order
                bounds_tell_what_is_there
            }
            resume {
                every_position_of_a_history_resumes_exactly
                a_cursor_from_the_future_is_rewound
                no_position_is_too_strange
            }
            garbage {
                garbage_is_invalid_and_goes_on_live
                a_cursor_of_other_topics_is_invalid
            }
            gaps {
                trimming_announces_the_exact_number_missed
                a_reader_whose_events_are_all_gone_goes_on_live
                a_connected_reader_is_told_of_events_trimmed_before_it
                a_wiped_topic_is_reset_for_a_reader_that_resumes
                a_wiped_topic_is_reset_for_a_connected_reader
                a_wiped_topic_that_grew_past_the_old_number_is_read_from_its_beginning
                a_gap_is_told_once
            }
            end {
                a_live_reader_is_told_of_the_end_once
                nothing_follows_the_end
                every_position_of_an_ended_topic_resumes_to_the_end
                a_reader_that_comes_after_the_end_is_told
                several_topics_are_finished_when_all_are
                an_ended_topic_that_begins_anew_is_a_reset
            }
            begin {
                an_event_that_may_not_begin_its_topic_is_refused_and_leaves_nothing
                a_topic_is_known_after_its_events_are_gone_and_after_its_end
            }
            broken {
                a_break_is_a_step_of_its_own_in_its_place
                a_topic_is_broken_while_the_break_is_its_last_entry
                an_entry_that_is_to_follow_another_is_stored_only_there
                an_opening_knows_the_break_that_comes_next
            }
            delete {
                a_deleted_topic_is_reset_for_readers_that_are_connected
                a_cursor_of_a_deleted_topic_is_reset
                nothing_is_left_of_a_deleted_topic
                a_deletion_has_its_place_among_the_appends_of_a_batch
            }
            reopen {
                an_open_topic_cannot_be_opened_and_an_ended_one_goes_on
                a_connected_reader_is_told_that_the_topic_goes_on
                a_later_reader_gets_all_events_and_no_end
            }
            pages {
                a_slow_reader_pages_through_its_backlog_in_order
                a_page_holds_no_more_bytes_than_asked_except_for_one_event
                a_limit_of_nothing_still_moves
                every_text_comes_back_byte_for_byte
            }
            several {
                every_delivered_prefix_resumes_exactly
                a_cursor_survives_a_change_of_topics
                a_quiet_topic_is_not_starved_by_a_busy_one
                a_topic_named_twice_is_read_once
            }
            spaces {
                topics_of_a_space_have_one_order
                a_reader_gets_what_it_selects_and_nothing_else
                every_position_of_a_selection_resumes_exactly
                a_quiet_selection_keeps_up_with_a_busy_log
                a_gap_of_a_selection_has_an_upper_bound
                a_topic_in_a_space_has_no_end_of_its_own
                keys_and_bookmarks_belong_to_topics
                an_event_of_several_topics_comes_once
                a_label_finds_the_first_event_that_has_it
            }
            seek {
                latest_begins_with_the_next_event
                earliest_and_last_n_begin_where_they_say
                since_begins_with_the_first_event_of_that_time_or_later
            }
            keys {
                the_same_key_in_the_same_topic_is_stored_once
                the_same_key_in_another_topic_is_another_event
                keys_work_within_a_batch_and_leave_others_alone
                a_used_key_is_refused_for_another_event
                the_name_of_an_event_is_enough
                a_retry_is_answered_after_its_event_was_trimmed
            }
            bookmarks {
                of_several_copiers_each_event_is_stored_once
                a_source_has_a_bookmark_in_each_topic
                a_bookmark_outlives_the_end_and_the_deletion_of_its_topic
            }
            live {
                waiting_readers_are_woken_on_every_node
                a_hundred_readers_share_a_tail
                dropping_a_wait_at_any_point_loses_nothing
                an_echo_comes_back_and_leaves_nothing
            }
        }
    };
}

/// Generates a `#[tokio::test]` for each check. An `async fn() -> impl Lab` makes a new lab for each test.
/// The calling crate depends on tokio with `macros` and `rt-multi-thread`.
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
/// The log breaks the contract.
pub async fn check(name: &str, lab: &dyn Lab) {
    crate::conformance_checks! { dispatch { name lab } }
}
