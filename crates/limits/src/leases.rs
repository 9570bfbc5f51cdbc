//! The counts of all nodes, as far as a node must know them.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::SubjectId;

/// The number of places that a subject has on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectCount {
    /// The subject.
    pub subject: SubjectId,
    /// Its places on this node.
    pub count: u32,
    /// Rises with every count that this node makes: an older count never replaces a newer one.
    pub version: u64,
}

/// The findings of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The nodes whose leases hold, this one included.
    pub nodes: u32,
    /// True if a lease of this node had ended, and its counts with it.
    pub lost: bool,
}

/// The other nodes' counts cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the counts of other nodes cannot be reached: {0}")]
pub struct LeasesAway(pub String);

/// Counts of places on all nodes, each held by a lease: the counts of a node whose lease ends are gone.
#[async_trait]
pub trait Leases: Debug + Send + Sync {
    /// Renews the leases of this node, and replaces the counts of these subjects.
    ///
    /// # Errors
    /// The counts cannot be reached. Some may have been replaced.
    async fn report(&self, counts: &[SubjectCount]) -> Result<Standing, LeasesAway>;

    /// Replaces the count of a subject, if all nodes together then have at most `max`. Returns false if they
    /// would have more.
    ///
    /// # Errors
    /// The counts cannot be reached. The count may have been replaced.
    async fn ask(&self, count: SubjectCount, max: u32) -> Result<bool, LeasesAway>;
}
