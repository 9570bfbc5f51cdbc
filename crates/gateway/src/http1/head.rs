//! The head of a request, if it is one that is served on the bare socket.

use axum::http::{HeaderMap, HeaderValue};

use crate::handler::PATH;

/// What the first bytes of a connection are.
#[derive(Debug)]
pub(super) enum Head {
    /// More has to come before anybody can say.
    Partial,
    /// A plain GET of the events.
    Subscribe(Subscribe),
    /// Something else, or something odd.
    Other,
}

/// What matters of a request's head.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) query: String,
    /// Only those that a subscription looks at.
    pub(super) headers: HeaderMap,
}

/// As many as the general server takes.
const HEADERS_MAX: usize = 100;
/// The headers that a subscription looks at.
const HEADERS: [&str; 4] = ["accept", "last-event-id", "traceparent", "x-forwarded-for"];
const METHOD: &[u8] = b"GET ";

/// Looks at what has come of a head.
pub(super) fn parse(bytes: &[u8]) -> Head {
    // Of anything else a few bytes suffice.
    let line = METHOD.iter().chain(PATH.as_bytes());
    if line.zip(bytes).any(|(expected, byte)| expected != byte) {
        return Head::Other;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Head::Partial,
        // What follows the head is no request that we would ever answer: the stream is the last.
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Head::Other,
    }
    subscribe(&request).map_or(Head::Other, Head::Subscribe)
}

fn subscribe(request: &httparse::Request<'_, '_>) -> Option<Subscribe> {
    // 1.0 knows no chunks.
    if request.version != Some(1) {
        return None;
    }
    let (path, query) = request.path?.split_once('?')?;
    // Such a target is no URI, or is one that the general server reads in its own way.
    if path != PATH || query.contains('#') || !query.is_ascii() {
        return None;
    }
    let mut headers = HeaderMap::new();
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        // A body, or a request to do otherwise.
        if ["content-length", "transfer-encoding", "expect", "upgrade"].into_iter().any(is) {
            return None;
        }
        if let Some(name) = HEADERS.iter().find(|name| is(name)) {
            headers.append(*name, HeaderValue::from_bytes(header.value).ok()?);
        }
    }
    Some(Subscribe { query: query.to_owned(), headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(head: &str) -> &'static str {
        match parse(head.as_bytes()) {
            Head::Partial => "partial",
            Head::Subscribe(_) => "subscribe",
            Head::Other => "other",
        }
    }

    #[test]
    fn only_a_plain_get_of_the_events_is_ours() {
        let cases = [
            ("", "partial"),
            ("GET /v1/ev", "partial"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nHost: x\r\n", "partial"),
            ("GET /v1/events?topic=t HTTP/1.1\r\nHost: x\r\n\r\n", "subscribe"),
            ("GET /v1/events?topic=t HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", "subscribe"),
            ("G\r\n", "other"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "other"),
            ("HEAD /v1/events?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("POST /v1/events?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("GET http://x/v1/events?topic=t HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events HTTP/1.1\r\n\r\n", "other"),
            ("GET /v1/events/?topic=t HTTP/1.1\r\n\r\n", "other"),
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

    #[test]
    fn headers_are_found_in_any_case() {
        let head = "GET /v1/events?topic=t HTTP/1.1\r\nLAST-event-ID: 5-1\r\naCCEPT: a\r\n\
                    Traceparent: b\r\nX-Forwarded-FOR: c\r\nCookie: d\r\n\r\n";
        let Head::Subscribe(subscribe) = parse(head.as_bytes()) else { panic!("not ours") };
        assert_eq!(subscribe.query, "topic=t");
        assert_eq!(subscribe.headers["last-event-id"], "5-1");
        assert_eq!(subscribe.headers["accept"], "a");
        assert_eq!(subscribe.headers["traceparent"], "b");
        assert_eq!(subscribe.headers["x-forwarded-for"], "c");
        assert_eq!(subscribe.headers.len(), 4);
    }

    proptest! {
        #[test]
        fn no_head_panics_and_a_part_is_never_taken_for_the_whole(
            head in "GET /v1/events\\?[ -~]{0,20} HTTP/1\\.[01]\r\n(\\PC{0,9}: \\PC{0,9}\r\n){0,3}\r\n",
            cut: proptest::sample::Index,
        ) {
            let part = &head.as_bytes()[..cut.index(head.len())];
            prop_assert!(!matches!(parse(part), Head::Subscribe(_)));
            let _any = parse(head.as_bytes());
        }
    }
}
