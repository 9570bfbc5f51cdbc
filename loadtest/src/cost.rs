//! The cost of a connection, a delivery and a resume.
//!
//! [`contender`] starts a server on chosen cores, [`driver`] drives it from another core, [`mix`]
//! is a load of everything together, [`reference`](mod@reference) holds the servers to compare
//! with, [`chat`] is the answer of a language model; tokens come from a [`mint`], names of topics
//! from [`topic`].

pub mod chat;
pub mod contender;
pub mod driver;
pub mod mint;
pub mod mix;
pub mod reference;
pub mod topic;
