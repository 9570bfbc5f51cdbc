//! The head of an HTTP/1.1 response.

use std::io;

/// A head longer than this is refused, so that a wrong server cannot fill our memory.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Status and headers of a response.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// In the order of the wire, names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head from the bytes up to and without its blank line.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Head> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| invalid("no HTTP/1.1 status line"))?;
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid("a header line without a colon"))?;
        Ok(Head { status, headers })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn head_gives_status_and_headers() {
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX:y");
        let head = head.expect("a head");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-TYPE"), Some("text/event-stream"));
        assert_eq!(head.header("x"), Some("y"));
    }

    #[test]
    fn anything_but_http_is_refused() {
        assert!(Head::parse(b"SSH-2.0-OpenSSH").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nno colon").is_err());
    }
}
