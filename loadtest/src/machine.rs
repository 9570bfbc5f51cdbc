//! Real programs as child processes that cannot outlive the test.
//!
//! Each program lives in a working directory with its log in it, listens on ports that it keeps
//! over restarts, and is killed when its handle is dropped, also when the test panics or is
//! killed itself. A handle that is dropped by a panic prints the tail of its log.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use loadtest::machine::{AppendFsync, Haproxy, Redis, Tailwater};
//! let redis = Redis::builder().append_fsync(AppendFsync::Everysec).start().await?;
//! let ingest = Tailwater::ingest("target/debug/tailwater").redis(&redis).start().await?;
//! let mut gateway = Tailwater::gateway("target/debug/tailwater").redis(&redis).start().await?;
//! let haproxy = Haproxy::start(&[&gateway]).await?;
//! gateway.kill_nine()?;
//! gateway.restart().await?;
//! # Ok(()) }
//! ```

mod balancer;
mod child;
pub mod cluster;
mod cores;
mod foreign;
mod haproxy;
mod namespace;
mod network;
mod pinned;
mod place;
mod port;
mod proxy;
mod redis;
mod resp;
mod spawner;
mod tailwater;
mod worker;

pub use balancer::{Balancer, BalancerCommand};
pub use cores::CoreSet;
pub use foreign::Foreign;
pub use haproxy::{Haproxy, ServerState, ServerView};
pub use namespace::Namespace;
pub use network::Network;
pub use pinned::{Memory, Pinned, pin};
pub use place::Place;
pub use port::Port;
pub use proxy::{Proxy, Way};
pub(crate) use redis::calls;
pub use redis::{AppendFsync, Redis, RedisBuilder};
pub use tailwater::{Tailwater, TailwaterBuilder};
pub use worker::Worker;
