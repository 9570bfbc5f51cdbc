//! The plumbing of observability: a registry of metrics, their exposition, logs and traces.
//!
//! Knows no metric by name: each family lives where it is counted, in the gateway, ingest or the
//! binary. `docs/metrics.md` lists them all.

mod levels;
mod lines;
mod registry;
mod telemetry;

pub mod buckets;
pub mod trace;

pub use levels::{BadLevels, Levels};
pub use prometheus::{Histogram, IntCounter, IntGauge};
pub use registry::{Counters, Label, Registry};
pub use telemetry::{LogFormat, Telemetry, TelemetryConfig, TelemetryError};
