//! End-to-end tests with processes of the real binary, Redis, HAProxy, Chromium and Firefox, which the tests
//! kill.
//!
//! Each test is a claim. No test asserts a duration: it waits for conditions, with deadlines that a
//! loaded machine meets. All tests are one crate, so that only one program is linked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to panic")]

mod access;
mod browser;
mod check;
mod cli;
mod copies;
mod drain;
mod flags;
mod guests;
mod haproxy;
mod help;
mod ingest;
mod logs;
mod manual;
mod mercure;
mod metrics;
mod operator;
mod presence;
mod publish;
mod quotas;
mod reader;
mod redis_faults;
mod relay;
mod resume;
mod serve;
mod servers;
mod site;
mod slow_reader;
#[cfg(feature = "mqtt")]
mod source_states;
mod sources;
mod spaces;
mod support;
mod tail;
mod tls;
mod tls_tickets;
mod topics;
mod traces;
mod watch;
mod workers;
