//! Finds the party that a request is counted for.

use axum::http::HeaderValue;
use axum::http::header::FORWARDED;
use axum::http::request::Parts;
use limits::{Client, Peer, Rules};

/// The header of proxies that is older than `Forwarded`, and more common.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the client of a request: its peer, or the client that a trusted proxy names. A request whose
/// server told no peer is trusted.
pub(crate) fn of(parts: &Parts, rules: &Rules) -> Client {
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return Client::TRUSTED;
    };
    let headers = &parts.headers;
    let for_lists = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let forwarded = headers.get_all(FORWARDED).iter().map(HeaderValue::as_bytes);
    rules.proxies.client(*peer, for_lists, forwarded)
}
