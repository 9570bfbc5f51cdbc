//! The first request of a connection, if it is one that `http1.rs` serves.

use crate::door::PATH;
use crate::head::SubscriptionHead;
use crate::hub;

/// The first bytes of a connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "its receiver takes it apart at once")]
pub(crate) enum FirstRequest<'a> {
    /// More bytes have to come before anybody can say.
    Incomplete,
    /// A plain GET of the events.
    Subscription(SubscriptionHead<'a>),
    /// Another request, or an odd one.
    Other,
}

/// As many as the general server takes.
const HEADERS_MAX: usize = 100;
/// The resources with events. A gateway without a hub hands requests for the second on.
const PATHS: [&str; 2] = [PATH, hub::PATH];
const METHOD: &[u8] = b"GET ";
/// Headers that announce a body, or ask for something else than an answer.
const NOT_PLAIN: [&str; 4] = ["content-length", "transfer-encoding", "expect", "upgrade"];

/// Looks at the bytes of a head that have come.
pub(crate) fn parse(bytes: &[u8]) -> FirstRequest<'_> {
    // A few bytes tell another request.
    let begins = |path: &&str| {
        let line = METHOD.iter().chain(path.as_bytes());
        line.zip(bytes).all(|(expected, byte)| expected == byte)
    };
    if !PATHS.iter().any(begins) {
        return FirstRequest::Other;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return FirstRequest::Incomplete,
        // Nobody will read the bytes behind the head as a request, because the stream is the last
        // answer on its connection.
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return FirstRequest::Other,
    }
    subscription(&request).map_or(FirstRequest::Other, FirstRequest::Subscription)
}

fn subscription<'a>(request: &httparse::Request<'_, 'a>) -> Option<SubscriptionHead<'a>> {
    // HTTP/1.0 knows no chunks.
    if request.version != Some(1) {
        return None;
    }
    let (path, query) = request.path?.split_once('?')?;
    if !PATHS.contains(&path) || !query.bytes().all(is_plain) {
        return None;
    }
    let is_plain = |name: &str| !NOT_PLAIN.iter().any(|odd| name.eq_ignore_ascii_case(odd));
    request.headers.iter().all(|header| is_plain(header.name)).then(|| {
        let headers = request.headers.iter().map(|header| (header.name, header.value));
        SubscriptionHead {
            is_of_hub: path == hub::PATH,
            ..SubscriptionHead::collect(query, headers)
        }
    })
}

/// Returns true if a byte of a query means the same to the general server, which refuses some bytes and ends
/// the query at `#`.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(head: &str) -> &'static str {
        match parse(head.as_bytes()) {
            FirstRequest::Incomplete => "incomplete",
            FirstRequest::Subscription(_) => "subscription",
            FirstRequest::Other => "other",
        }
    }

    #[test]
    fn only_a_plain_get_of_the_events_is_ours() {
        let cases = [
            ("", "incomplete"),
            ("GET /v1/ev", "incomplete"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nHost: x\r\n", "incomplete"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nHost: x\r\n\r\n", "subscription"),
            ("GET /v1/events?topic=t HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", "subscription"),
            ("G\r\n", "other"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "other"),
            ("HEAD /v1/events?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("POST /v1/events?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("GET http://x/v1/events?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events/?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events?topic=t#x HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events?topic=<t> HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events?topic=\u{e9} HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events?topic=t HTTP/1.0\r\n\r\n", "other"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nbad header\r\n\r\n", "other"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nEXPECT: 100-continue\r\n\r\n", "other"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "other"),
            ("GET /v1/events?topic=t HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "other"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", "other"),
        ];
        for (head, expected) in cases {
            assert_eq!(kind(head), expected, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn no_head_panics_and_a_part_is_never_taken_for_the_whole(
            head in "GET /v1/events\\?[ -~]{0,20} HTTP/1\\.[01]\r\n(\\PC{0,9}: \\PC{0,9}\r\n){0,3}\r\n",
            cut: proptest::sample::Index,
        ) {
            let part = &head.as_bytes()[..cut.index(head.len())];
            prop_assert!(!matches!(parse(part), FirstRequest::Subscription(_)));
            let _any = parse(head.as_bytes());
        }
    }
}
