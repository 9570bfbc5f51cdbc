//! The plumbing of metrics and traces: a registry, its exposition, and the continuation of a remote
//! trace.
//!
//! Knows no metric by name: each family lives in the code that counts it, and `docs/metrics.md` lists
//! all of them. Exports nothing by itself: logs and the OTLP exporter are set up in `tailwater`.

mod registry;

pub mod buckets;
pub mod process;
pub mod trace;

pub use prometheus::{Histogram, IntCounter, IntGauge};
pub use registry::{Counters, Label, Registry};
