//! The formulas of `docs/scale.md`. They count; none of them knows a time.

/// The gateways that watch a topic, of `gateways`, if its `readers` are spread at random.
pub(crate) fn watching(gateways: f64, readers: f64) -> f64 {
    gateways * (1.0 - (1.0 - 1.0 / gateways).powf(readers))
}

/// The messages that a server of a partition sends for an event, if each gateway listens to one of some servers.
pub(crate) fn messages(watching: f64, servers: f64) -> f64 {
    watching / servers
}

/// The gateways that begin to watch a topic when readers come whose gateways have died: `left` gateways live, which
/// `stayed` of the readers never left, and `moved` readers come.
pub(crate) fn newly_watching(left: f64, stayed: f64, moved: f64) -> f64 {
    watching(left, stayed + moved) - watching(left, stayed)
}
