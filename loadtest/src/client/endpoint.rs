//! The address of a server: a host name or an IP, a port, and the addresses to connect from.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::net::{TcpSocket, TcpStream, lookup_host};

const PORT_DEFAULT: u16 = 80;

/// A host and a port. A name is looked up at each connect, as a browser would.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// An IPv6 address is without its brackets.
    host: Arc<str>,
    port: u16,
    sources: Arc<Sources>,
}

/// Addresses to connect from, in turn; if there are none, whichever the kernel takes.
#[derive(Debug, Default)]
struct Sources {
    addresses: Vec<IpAddr>,
    turn: AtomicUsize,
}

/// The text was no URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no URL of the form http://HOST[:PORT]")]
pub struct NoEndpoint(String);

impl Endpoint {
    /// The same server, reached from these addresses of this machine in turn.
    #[must_use]
    pub fn via(self, addresses: Vec<IpAddr>) -> Self {
        let sources = Arc::new(Sources { addresses, turn: AtomicUsize::default() });
        Self { sources, ..self }
    }

    /// A new connection, without delay for small writes.
    ///
    /// # Errors
    /// When the name is unknown, or no address of it accepts.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let stream = match self.sources.next() {
            Some(source) => self.connect_from(source).await?,
            None => TcpStream::connect((&*self.host, self.port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect_from(&self, source: IpAddr) -> io::Result<TcpStream> {
        let reason =
            format!("{self} cannot be reached from {source}: it has no address of that kind");
        let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, reason);
        for address in lookup_host((&*self.host, self.port)).await? {
            let socket = match (source, address) {
                (IpAddr::V4(_), SocketAddr::V4(_)) => TcpSocket::new_v4()?,
                (IpAddr::V6(_), SocketAddr::V6(_)) => TcpSocket::new_v6()?,
                _ => continue,
            };
            socket.bind(SocketAddr::new(source, 0))?;
            match socket.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl Sources {
    fn next(&self) -> Option<IpAddr> {
        let turn = self.turn.fetch_add(1, Relaxed);
        self.addresses.get(turn.checked_rem(self.addresses.len())?).copied()
    }
}

/// As it stands in a `Host` header.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port == PORT_DEFAULT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        let host = addr.ip().to_string().into();
        Endpoint { host, port: addr.port(), sources: Arc::default() }
    }
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let parse = || {
            let authority = text.strip_prefix("http://")?;
            let authority = authority.strip_suffix('/').unwrap_or(authority);
            let (host, port) = match authority.strip_prefix('[') {
                Some(rest) => rest.split_once(']')?,
                None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
            };
            let port = match port.strip_prefix(':') {
                Some(number) => number.parse().ok()?,
                None if port.is_empty() => PORT_DEFAULT,
                None => return None,
            };
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
            let is_host = !host.is_empty() && host.chars().all(is_plain);
            is_host.then(|| Endpoint { host: host.into(), port, sources: Arc::default() })
        };
        parse().ok_or_else(|| NoEndpoint(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::net::TcpListener;

    use super::Endpoint;

    #[test]
    fn url_names_host_and_port() {
        let cases = [
            ("http://lb:8080", "lb:8080"),
            ("http://lb:8080/", "lb:8080"),
            ("http://tailwater.example", "tailwater.example"),
            ("http://10.0.0.1:80", "10.0.0.1"),
            ("http://[::1]:8080", "[::1]:8080"),
        ];
        for (url, host) in cases {
            assert_eq!(url.parse::<Endpoint>().expect(url).to_string(), host);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused() {
        for url in
            ["", "lb:8080", "https://lb", "http://", "http://lb:x", "http://lb/v1", "http://[::1"]
        {
            assert!(url.parse::<Endpoint>().is_err(), "{url:?}");
        }
    }

    #[tokio::test]
    async fn connections_come_from_each_source_in_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sources: [IpAddr; 2] = ["127.0.0.2", "127.0.0.3"].map(|ip| ip.parse().unwrap());
        let server = Endpoint::from(listener.local_addr().unwrap()).via(sources.to_vec());
        for source in sources.iter().cycle().take(5) {
            let _open = server.connect().await.unwrap();
            assert_eq!(listener.accept().await.unwrap().1.ip(), *source);
        }
    }

    #[tokio::test]
    async fn a_source_of_another_kind_is_named() {
        let server: Endpoint = "http://127.0.0.1:9".parse().unwrap();
        let server = server.via(vec!["::1".parse().unwrap()]);
        let error = server.connect().await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:9") && error.contains("::1"), "{error}");
    }
}
