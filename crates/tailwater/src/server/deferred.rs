//! A listener that gives connections away when their request is there.
//!
//! The kernel keeps a connection to itself until its first bytes have come, so that accepting it,
//! reading the request and answering are one go. Else a task is made, finds nothing, and is woken for
//! it again. Linux only.

use std::io;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::net::TcpListener;

/// How long a silent connection is kept back, in seconds. Short: who has not spoken by then is waited
/// for as ever.
const SECONDS: u32 = 1;

sockopt_impl!(DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, u32);

/// Makes the listener wait for requests instead of connections.
pub(super) fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    Ok(setsockopt(listener, DeferAccept, &SECONDS)?)
}
