//! Where a server is: a host name or an address, and a port.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::TcpStream;

const PORT_DEFAULT: u16 = 80;

/// A host and a port. A name is looked up at each connect, as a browser would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// An IPv6 address is without its brackets.
    host: Arc<str>,
    port: u16,
}

/// The text was no URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no URL of the form http://HOST[:PORT]")]
pub struct NoEndpoint(String);

impl Endpoint {
    /// A new connection, without delay for small writes.
    ///
    /// # Errors
    /// When the name is unknown, or no address of it accepts.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
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
        Endpoint { host: addr.ip().to_string().into(), port: addr.port() }
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
            is_host.then(|| Endpoint { host: host.into(), port })
        };
        parse().ok_or_else(|| NoEndpoint(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
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
}
