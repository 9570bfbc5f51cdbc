//! The members on all nodes, as far as a node must know them.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use event_log::Topic;

use crate::{Member, MemberId};

/// The members in one list. A topic may have more; its count is of all.
pub const LISTED_MAX: usize = 1000;
/// The members that one change names, of those who joined and of those who left. A change of more has only
/// their numbers.
pub const NAMED_MAX: usize = 32;
/// The topics in one list of counts.
pub const TOPICS_MAX: usize = 1000;

/// A member that came to a node, or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The topic.
    pub topic: Topic,
    /// The member.
    pub id: MemberId,
    /// The member's description if it came; `None` if it left.
    pub info: Option<Arc<str>>,
}

/// The members that a topic won and lost in one step.
#[derive(Debug, Default)]
pub struct Change {
    /// The topic's state after the change.
    pub version: u64,
    /// The members after the change.
    pub count: u64,
    /// The number of those who joined.
    pub joined: u64,
    /// The number of those who left.
    pub left: u64,
    /// All who joined, or none if they are more than [`NAMED_MAX`].
    pub joins: Vec<Member>,
    /// All who left, or none if they are more than [`NAMED_MAX`].
    pub leaves: Vec<Member>,
    pub(crate) encodings: Encodings,
}

/// The members of a topic at one time.
#[derive(Debug, Default)]
pub struct View {
    /// The state that it shows: changes of later versions come on top.
    pub version: u64,
    /// The members.
    pub count: u64,
    /// At most [`LISTED_MAX`] of them.
    pub members: Vec<Member>,
    pub(crate) encodings: Encodings,
}

/// Texts of a change or a view, each made once a node.
#[derive(Debug, Default)]
pub struct Encodings([OnceLock<Arc<str>>; ENCODINGS]);

/// The texts that a change or a view can have.
const ENCODINGS: usize = 4;

/// The findings of a report.
#[derive(Debug, Default)]
pub struct Report {
    /// The changes since the last report, in their order for each topic.
    pub changes: Vec<(Topic, Change)>,
    /// True if the store does not know the members of this node any more.
    pub lost: bool,
    /// True if changes were missed: whoever watches has to look at the members again.
    pub missed: bool,
    /// True if more changes wait for the next report.
    pub more: bool,
}

/// The members of several topics.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Topics and their members, sorted; at most [`TOPICS_MAX`].
    pub topics: Vec<(Topic, u64)>,
    /// True if there may be more.
    pub more: bool,
}

/// The members of other nodes cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the members of other nodes cannot be reached: {0}")]
pub struct Away(pub String);

/// The members on all nodes. A node's members are there for as long as its lease, which reports renew.
///
/// A member that is on several nodes joined when it came to the first, and leaves when it is on none.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Renews the lease of this node and records its updates, in their order. Returns the changes of all nodes
    /// since the last report if `follows`.
    ///
    /// # Errors
    /// The members cannot be reached. The updates may have been recorded; to record them again is harmless.
    async fn report(&self, updates: &[Update], follows: bool) -> Result<Report, Away>;

    /// Looks at the members of a topic.
    ///
    /// # Errors
    /// The members cannot be reached.
    async fn view(&self, topic: &Topic) -> Result<View, Away>;

    /// Counts the members of the topics whose names begin with `prefix` and that are wanted.
    ///
    /// # Errors
    /// The members cannot be reached.
    async fn counts(
        &self,
        prefix: &str,
        is_wanted: &(dyn for<'t> Fn(&'t Topic) -> bool + Sync),
    ) -> Result<Counts, Away>;
}

impl Report {
    /// Adds the report after this one.
    pub(crate) fn then(&mut self, next: Self) {
        self.changes.extend(next.changes);
        self.lost |= next.lost;
        self.missed |= next.missed;
        self.more = next.more;
    }
}

impl Encodings {
    /// Returns the text of this number, which `make` makes the first time.
    ///
    /// # Panics
    /// There are four numbers.
    pub fn text(&self, number: usize, make: impl FnOnce() -> String) -> &Arc<str> {
        self.0[number].get_or_init(|| make().into())
    }
}

impl Change {
    /// A change to this version and number of members, which nobody has joined or left yet.
    #[must_use]
    pub fn new(version: u64, count: u64) -> Self {
        Self { version, count, ..Self::default() }
    }

    /// The texts of this change.
    #[must_use]
    pub const fn encodings(&self) -> &Encodings {
        &self.encodings
    }

    /// Adds members who joined after those who are here. Names them as long as they are few.
    pub fn join(&mut self, count: u64, names: impl IntoIterator<Item = Member>) {
        add((&mut self.joined, &mut self.joins), count, names);
    }

    /// Adds members who left.
    pub fn leave(&mut self, count: u64, names: impl IntoIterator<Item = Member>) {
        add((&mut self.left, &mut self.leaves), count, names);
    }

    /// Adds the change after this one.
    pub(crate) fn then(&mut self, next: Self) {
        self.join(next.joined, next.joins);
        self.leave(next.left, next.leaves);
        (self.version, self.count) = (next.version, next.count);
    }
}

fn add(
    (all, named): (&mut u64, &mut Vec<Member>),
    count: u64,
    names: impl IntoIterator<Item = Member>,
) {
    let is_named = named.len() as u64 == *all;
    *all += count;
    if is_named && *all <= NAMED_MAX as u64 {
        named.extend(names);
    }
    if named.len() as u64 != *all {
        named.clear();
    }
}

impl View {
    /// A view of these members, of which `members` are some.
    #[must_use]
    pub fn new(version: u64, count: u64, mut members: Vec<Member>) -> Self {
        members.truncate(LISTED_MAX);
        members.sort_by_key(|member| (member.since, member.id));
        Self { version, count, members, encodings: Encodings::default() }
    }

    /// The texts of this view.
    #[must_use]
    pub const fn encodings(&self) -> &Encodings {
        &self.encodings
    }
}
