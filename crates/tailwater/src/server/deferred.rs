//! A listener that returns a connection when its request has come.
//!
//! The kernel holds a connection back until its first bytes have come. So one poll of a task accepts it,
//! reads the request and answers; otherwise the task would find nothing, wait, and be woken. Linux only.

use std::io;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::net::TcpListener;

/// The time that a silent connection is held back, in seconds. Short: after it the task waits instead.
const SECONDS: u32 = 1;

sockopt_impl!(DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, u32);

/// Makes the listener wait for requests instead of connections.
pub(super) fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    Ok(setsockopt(listener, DeferAccept, &SECONDS)?)
}
