//! Listening sockets, and the options that their connections inherit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};

/// The silence after which a peer is probed. Three probes of 10 s without an answer end the connection.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);
/// Probes without an answer; the system's default is 9.
const PROBES: u32 = 3;

/// Connections that may wait to be accepted. When the backlog is full, the kernel drops the SYN and the
/// client retries after a second. The kernel allows fewer, 4,096 by default (net.core.somaxconn).
const BACKLOG: u32 = 16 * 1024;

/// Opens a listening socket. `[::]` takes IPv4 as well, and is `0.0.0.0` on a machine without IPv6.
///
/// # Errors
/// The address is taken or not this machine's.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error) if address.ip() == IpAddr::from([0_u16; 8]) && is_lacking(&error) => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // The system's default is a setting of the machine. `::ffff:192.0.2.1` is an IPv4 address.
            let has_v4 = address.ip().is_unspecified() || address.ip().to_canonical().is_ipv4();
            SockRef::from(&socket).set_only_v6(!has_v4)?;
            socket
        }
    };
    // Connections of an earlier process in TIME_WAIT do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Returns true for the error of a machine that lacks the address, or all of IPv6.
pub(crate) fn is_lacking(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
}

/// Sets the options that the connections of a listener inherit: an event is small and must leave at once,
/// a peer that vanished must not be kept for ever, and a client speaks first.
pub(super) fn prepare(listener: &TcpListener) {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(PROBES);
    let socket = SockRef::from(listener);
    let set = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| super::deferred::defer_accept(listener));
    if let Err(error) = set {
        tracing::warn!(%error, "the listening socket takes no options");
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_unspecified_address_takes_both_protocols() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect(("::1", port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_ipv4_address_may_be_written_as_ipv6() {
        let Ok(listener) = listen("[::ffff:127.0.0.1]:0".parse().unwrap()) else {
            // A machine without IPv6 has no such address.
            assert!(TcpSocket::new_v6().is_err());
            return;
        };
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }
}
