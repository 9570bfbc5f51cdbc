//! The header by which a load balancer on layer 4 names its client: the PROXY protocol, versions 1 and 2.
//!
//! Reads just the header, so that TLS or HTTP follows on the same socket. Absent: the TLVs of version 2,
//! which are skipped.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// The longest time until the header has come.
const HEADER_MAX: Duration = Duration::from_secs(2);
/// Bytes that tell the version: the signature of version 2. A header of version 1 has more.
const SIGNATURE_BYTES: usize = 12;
/// Bytes of version 2 before its addresses.
const FIXED_BYTES: usize = 16;
/// Most bytes behind them: addresses, and TLVs of any balancer.
const VARIABLE_BYTES_MAX: usize = 2048;
/// Most bytes of version 1, by its specification.
const LINE_BYTES_MAX: usize = 107;

/// Reads the header. `None` if the balancer speaks for itself or does not know the client.
///
/// # Errors
/// There is no header, or it is not complete in time.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    timeout(HEADER_MAX, header(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; SIGNATURE_BYTES];
    stream.read_exact(&mut bytes).await?;
    if bytes.starts_with(ppp::v1::PROTOCOL_PREFIX.as_bytes()) {
        while !bytes.ends_with(b"\r\n") {
            if bytes.len() == LINE_BYTES_MAX {
                return Err(malformed("the line is too long"));
            }
            bytes.push(stream.read_u8().await?);
        }
        return line_client(&bytes);
    }
    if bytes != ppp::v2::PROTOCOL_PREFIX {
        return Err(malformed("the connection does not begin with one"));
    }
    bytes.resize(FIXED_BYTES, 0);
    stream.read_exact(&mut bytes[SIGNATURE_BYTES..]).await?;
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if length > VARIABLE_BYTES_MAX {
        return Err(malformed("it is too long"));
    }
    bytes.resize(FIXED_BYTES + length, 0);
    stream.read_exact(&mut bytes[FIXED_BYTES..]).await?;
    binary_client(&bytes)
}

fn line_client(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    use ppp::v1::{Addresses, Header};
    let header = Header::try_from(line).map_err(malformed)?;
    Ok(match header.addresses {
        Addresses::Unknown => None,
        Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
        Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
    })
}

fn binary_client(bytes: &[u8]) -> io::Result<Option<SocketAddr>> {
    use ppp::v2::{Addresses, Command, Header};
    let header = Header::try_from(bytes).map_err(malformed)?;
    Ok(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(of)) => Some((of.source_address, of.source_port).into()),
        (Command::Proxy, Addresses::IPv6(of)) => Some((of.source_address, of.source_port).into()),
        _ => None,
    })
}

fn malformed(cause: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY header: {cause}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn read_all(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let client = runtime.block_on(read(&mut rest));
        (client, rest.len())
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    fn client(bytes: &[u8]) -> String {
        let (client, rest) = read_all(&[bytes, b"GET /"].concat());
        assert_eq!(rest, 5, "what follows belongs to HTTP");
        client.unwrap().map_or_else(|| "none".to_owned(), |client| client.to_string())
    }

    #[test]
    fn both_versions_name_the_client() {
        let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
        assert_eq!(client(line), "203.0.113.7:4711");
        assert_eq!(client(b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n"), "[2001:db8::7]:4711");
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), "none");
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 18, 103, 0, 80];
        assert_eq!(client(&binary(0x21, 0x11, &v4)), "203.0.113.7:4711");
        let with_tlv = [&v4[..], &[4, 0, 1, 0]].concat();
        assert_eq!(client(&binary(0x21, 0x11, &with_tlv)), "203.0.113.7:4711");
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 1, 7, 9);
        assert_eq!(client(&binary(0x21, 0x21, &v6)), "[2001::7]:9");
        // A health check of the balancer.
        assert_eq!(client(&binary(0x20, 0x00, &[])), "none");
    }

    #[test]
    fn anything_else_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".as_slice(),
            b"PROXY TCP4 203.0.113.7\r\n",
            b"PROXY TCP4 300.0.113.7 10.0.0.1 4711 80\r\n",
            b"PROXY TC",
            &long,
            &binary(0x21, 0x11, &[1, 2, 3]),
            &binary(0x31, 0x11, &[0; 12]),
            &binary(0x21, 0x11, &[0; 12])[..20],
            &[V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            assert!(read_all(bytes).0.is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(version in 0..3_usize, rest: Vec<u8>) {
            let prefix = [b"PROXY ".as_slice(), V2, b""][version];
            let (client, left) = read_all(&[prefix, &rest].concat());
            prop_assert!(client.is_err() || left <= rest.len());
        }
    }
}
