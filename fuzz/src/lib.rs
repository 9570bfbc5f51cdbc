//! Fuzz targets: one for each parser of bytes that come from outside.
//!
//! A target is a function of any bytes, which panics if a property of its parser does not hold. The
//! parsers are private, so most targets live beside them, in the `fuzz` module of their crate.
//! `scripts/fuzz` runs the targets under libFuzzer, and `tests/replay.rs` feeds them the files of
//! `corpus`.
//!
//! Absent: HTTP/2, TLS records, JSON, RESP and X.509, which libraries parse. A target sees them only
//! through the code that reads their result.

// These three include files of `tailwater`, whose tests stay where they are.
mod access;
#[cfg(not(test))]
mod balancer;
mod headers;
mod stream;
#[cfg(not(test))]
mod terminal;
#[cfg(not(test))]
mod tls;

/// A target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its folder in `corpus` and of its dictionary.
    pub name: &'static str,
    /// Takes any bytes, and panics if a property does not hold.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($(#[$cfg:meta])* $name:literal => $run:path,)+) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[$($(#[$cfg])* Target { name: $name, run: $run },)+];
    };
}

targets! {
    "access_cookie" => access::cookie,
    "access_files" => access::files,
    "access_keys" => access::keys,
    "access_pattern" => access::pattern,
    "access_token" => access::token,
    #[cfg(not(test))]
    "certificate" => tls::certificate,
    "client_stream" => stream::client_stream,
    "cloudevent" => ingest::fuzz::cloudevent,
    "cloudevent_binary" => ingest::fuzz::cloudevent_binary,
    "cloudevents" => ingest::fuzz::cloudevents,
    "cursor" => event_log::fuzz::cursor,
    "forwarded" => headers::forwarded,
    "frame" => gateway::fuzz::frame,
    "gap" => event_log::fuzz::gap,
    "mercure_publication" => mercure::fuzz::publication,
    "mercure_selector" => mercure::fuzz::selector,
    "mercure_stored" => mercure::fuzz::stored,
    "mercure_subscription" => mercure::fuzz::subscription,
    "names" => event_log::fuzz::names,
    "ndjson" => ingest::fuzz::ndjson,
    "origin" => headers::origin,
    #[cfg(not(test))]
    "pem" => tls::pem,
    #[cfg(not(test))]
    "proxy_header" => balancer::proxy_header,
    "publish_head" => ingest::fuzz::request,
    "redis_entry" => redis_log::fuzz::entry,
    "redis_feed" => redis_log::fuzz::feed,
    "redis_head" => redis_log::fuzz::head,
    "redis_read" => redis_log::fuzz::read,
    "redis_script" => redis_log::fuzz::script,
    "redis_topology" => redis_log::fuzz::topology,
    "redis_url" => redis_log::fuzz::url,
    "site" => headers::site,
    "sse" => ingest::fuzz::sse,
    "subscribe_head" => gateway::fuzz::head,
    "subscribe_query" => gateway::fuzz::query,
    #[cfg(not(test))]
    "terminal" => terminal::terminal,
    #[cfg(not(test))]
    "ticket" => tls::ticket,
    #[cfg(not(test))]
    "ticket_keys" => tls::ticket_keys,
    "trace" => headers::trace,
}

impl Target {
    /// Finds a target by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }
}
