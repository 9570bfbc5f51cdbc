//! Claims about the log on Redis. Each test has a real server of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

mod access;
mod appends;
mod conformance;
mod connecting;
mod deployment;
mod durability;
mod echoes;
mod failover;
mod faults;
mod formats;
mod full;
mod gaps;
mod inventory;
mod leases;
mod live;
mod migration;
mod presence;
mod replaced;
mod replicas;
mod resume;
mod runtimes;
mod server;
mod sizes;
mod spaces;
mod support;
mod traffic;
mod witness;
