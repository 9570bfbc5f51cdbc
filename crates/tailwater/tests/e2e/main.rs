//! The product as its users meet it: real processes of the real binary, a real Redis, HAProxy and
//! Chromium, really killed.
//!
//! Each test is a claim. None asserts how long something takes: conditions are waited for, with
//! deadlines that a loaded machine keeps. One crate, so that there is one program to link.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to panic")]

mod browser;
mod check;
mod cli;
mod drain;
mod help;
mod ingest;
mod logs;
mod metrics;
mod publish;
mod reader;
mod redis_faults;
mod resume;
mod serve;
mod slow_reader;
mod support;
mod tail;
mod tls;
mod tls_tickets;
mod traces;
mod watch;
mod workers;
