//! The PROXY protocol, by which a load balancer on layer 4 names its client.

#[path = "../../crates/tailwater/src/server/proxy_header.rs"]
mod proxy_header;

use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};

/// The longest header, in bytes: the fixed part of version 2 and the longest variable one.
const HEADER_BYTES_MAX: usize = 16 + 2048;

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime without sockets");
}

/// Reads a header. It ends where it says, so that what follows belongs to HTTP or TLS, and a part of it
/// names nobody.
pub(crate) fn proxy_header(bytes: &[u8]) {
    let Some((client, length)) = read(bytes) else { return };
    assert!(length <= HEADER_BYTES_MAX, "{length} bytes");
    let header = &bytes[..length];
    assert_eq!(read(&[header, b"\x16\x03"].concat()), Some((client, length)));
    assert_eq!(read(&header[..length - 1]), None, "a header without its last byte");
}

/// The client, which the balancer may leave out, and the length of the header.
fn read(bytes: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    let mut rest = bytes;
    let client = RUNTIME.with(|runtime| runtime.block_on(proxy_header::read(&mut rest))).ok()?;
    Some((client, bytes.len() - rest.len()))
}
