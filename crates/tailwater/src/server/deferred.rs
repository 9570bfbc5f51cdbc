//! A listener that returns a connection when its request has arrived.
//!
//! The kernel holds a connection back until its first bytes have arrived (TCP_DEFER_ACCEPT, Linux only).
//! A task then reads the request and answers in its first poll, and does not wait and wake once more.

use std::io;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::net::TcpListener;

/// The time that a silent connection is held back, in seconds. Then the task waits for the request.
const SECONDS: u32 = 1;

sockopt_impl!(DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, u32);

/// Makes the listener wait for requests instead of connections.
pub(super) fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    Ok(setsockopt(listener, DeferAccept, &SECONDS)?)
}
