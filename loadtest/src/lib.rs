//! Drives real Tailwater processes, breaks them, and proves that subscribers lost nothing.
//!
//! The crate has three test stands, and rooms that they share:
//!
//! | room | contents |
//! |---|---|
//! | [`client`] | addresses, requests, streams, events |
//! | [`machine`] | processes, ports, namespaces, cores, the cluster of one machine |
//! | [`report`] | pages, tables, goals, histograms, timelines, the status line |
//! | [`proof`] | the first stand: an audience, and the checker of its deliveries |
//! | [`lab`] | the second stand: a deployment whose Redis and network break |
//! | [`cost`] | the third stand: servers on chosen cores, and their driver |
//! | [`scenario`] | the commands of `loadtest`: each puts a stand together and writes a report |
//!
//! Arrows point one way: `scenario` -> `lab` -> `proof` -> `client`, `report`; `scenario` -> `cost`
//! -> `machine`, `client`, `report`; `lab` -> `machine` -> `client`. [`random`] is used everywhere.
//! `proof` and `cost` do not know each other.
//!
//! Three crates of the workspace are used: `sse` parses event streams, `event-log` has the types of
//! a log that a publisher appends to, and `redis-log` is such a log, for the scenario `watch`
//! alone. Subscribers see nothing but HTTP.

pub mod client;
pub mod cost;
pub mod lab;
pub mod machine;
pub mod proof;
pub mod random;
pub mod report;
pub mod scenario;
