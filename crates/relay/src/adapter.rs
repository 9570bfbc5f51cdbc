//! The ways of clients to resume an answer, besides `Location`.

/// A way to resume, for the requests below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter;
