//! The headers that a proxy changes on their way: hop-by-hop headers end here (RFC 9110, section 7.6.1), and the
//! upstream is told the client.

use std::net::SocketAddr;

use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{Method, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The topic of a stored answer.
pub(crate) const TOPIC: HeaderName = HeaderName::from_static("tailwater-topic");
/// The headers of a stored answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static("location, tailwater-topic");

/// Asks for cursors as the ids of the events of an answer.
pub(crate) const IDS: HeaderName = HeaderName::from_static("tailwater-ids");
/// The headers by which clients of the known APIs say who they are.
pub(crate) const CREDENTIALS: [&str; 5] =
    ["authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"];

/// Headers that concern one connection only.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Returns the headers of the request to the upstream.
pub(crate) fn for_upstream(
    parts: &Parts,
    peer: Option<SocketAddr>,
    scheme: &'static str,
) -> HeaderMap {
    let mut headers = parts.headers.clone();
    remove_hop_by_hop(&mut headers);
    // The server has answered it, and the client of the upstream sends a host of its own.
    headers.remove(EXPECT);
    headers.remove(IDS);
    let host = headers.remove(HOST).or_else(|| {
        let authority = parts.uri.authority()?;
        HeaderValue::from_str(authority.as_str()).ok()
    });
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
    if let Some(peer) = peer {
        let before = headers.get_all(FORWARDED_FOR).iter().map(|value| value.as_bytes().to_vec());
        let own = peer.ip().to_canonical().to_string().into_bytes();
        let list = before.chain([own]).collect::<Vec<_>>().join(&b", "[..]);
        if let Ok(list) = HeaderValue::from_bytes(&list) {
            headers.insert(FORWARDED_FOR, list);
        }
    }
    for (name, value) in &mut headers {
        // Neither a log at any level nor the compression of HTTP/2 shows it.
        value.set_sensitive(CREDENTIALS.contains(&name.as_str()));
    }
    if may_stream(parts) {
        // The events of a compressed answer could not be stored.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers
}

/// Removes the headers that concern the connection to the upstream only.
pub(crate) fn from_upstream(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Names a stored answer in its headers.
pub(crate) fn name(headers: &mut HeaderMap, topic: &HeaderValue, location: &HeaderValue) {
    headers.insert(TOPIC, topic.clone());
    // The upstream's own location means something to its clients.
    headers.entry(header::LOCATION).or_insert_with(|| location.clone());
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Returns true for a request whose answer may be a stream: an API streams the answer to a POST.
fn may_stream(parts: &Parts) -> bool {
    let accepts = || {
        let values = parts.headers.get_all(ACCEPT).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("text/event-stream"))
    };
    parts.method == Method::POST || accepts()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn sent(request: axum::http::request::Builder) -> HeaderMap {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        for_upstream(&parts, Some("192.0.2.7:4000".parse().unwrap()), "https")
    }

    #[test]
    fn hop_by_hop_headers_and_those_that_connection_names_end_here() {
        let headers = sent(
            Request::get("/x")
                .header("connection", "keep-alive, X-Own")
                .header("keep-alive", "timeout=5")
                .header("x-own", "1")
                .header("te", "trailers")
                .header("upgrade", "h2c")
                .header("authorization", "Bearer sk-1"),
        );
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "x-forwarded-for", "x-forwarded-proto"]);
    }

    #[test]
    fn credentials_are_not_printed() {
        let headers = sent(Request::get("/x").header("x-api-key", "secret").header("x-other", "1"));
        assert_eq!(headers["x-api-key"], "secret");
        assert!(!format!("{headers:?}").contains("secret"));
    }

    #[test]
    fn the_upstream_is_told_the_client() {
        let headers = sent(
            Request::get("/x")
                .header("host", "relay.test")
                .header("x-forwarded-for", "198.51.100.1"),
        );
        assert_eq!(headers["x-forwarded-for"], "198.51.100.1, 192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "relay.test");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert!(!headers.contains_key("host"));
    }

    #[test]
    fn an_answer_that_may_stream_is_not_to_be_compressed() {
        let gzip =
            |request: axum::http::request::Builder| request.header("accept-encoding", "gzip");
        assert_eq!(sent(gzip(Request::post("/x")))["accept-encoding"], "identity");
        let stream = gzip(Request::get("/x")).header("accept", "text/event-stream");
        assert_eq!(sent(stream)["accept-encoding"], "identity");
        assert_eq!(sent(gzip(Request::get("/x")))["accept-encoding"], "gzip");
    }
}
