//! `POST /v1/subscriptions`: a subscription whose parameters come in a body, for clients that only POST and for
//! lists of topics that are too long for a URL.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use limits::Peer;
use serde_json::{Map, Value};

use crate::error::simple;
use crate::frame::Framing;
use crate::gateway::Shared;
use crate::handler::{self, Asked, Via};
use crate::head::SubscriptionHead;
use crate::read_body::read_body;

/// The resource that takes subscriptions.
pub(crate) const PATH: &str = "/v1/subscriptions";

/// The largest body, in bytes: as many as the head of a GET may have.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Answers as a GET of the events would be answered whose query has the members of the body.
pub(crate) async fn subscribe(
    State(gateway): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let origin = parts.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let cors = gateway.config.cors.grant(origin);
    let refused = |mut response: Response| {
        cors.put(response.headers_mut());
        response
    };
    let mut head = SubscriptionHead::of(&parts);
    let query = match read_body(body, BODY_BYTES_MAX).await {
        Ok(bytes) => query_of(head.query, &bytes),
        Err(response) => return refused(response),
    };
    let query = match query {
        Ok(query) => query,
        Err(message) => {
            return refused(simple(StatusCode::BAD_REQUEST, "bad_body", &message));
        }
    };
    head.query = &query;
    let via = Via { peer, version: parts.version, framing: Framing::None };
    let asked = Asked::parse(&gateway, &head, via);
    handler::answer(&gateway, asked)
        .await
        .map(|content| content.into_body(peer.connection))
        .into_response()
}

/// The query that says the same as `query` and the JSON object of a body.
fn query_of(query: &str, body: &[u8]) -> Result<String, String> {
    let example = "the body is not as {\"topic\":[\"orders/42\"],\"from\":\"-10\"}";
    let members: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("{example}: {error}"))?;
    let mut out = form_urlencoded::Serializer::new(query.to_owned());
    for (name, value) in &members {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            one => std::slice::from_ref(one),
        };
        for value in values {
            match value {
                Value::String(text) => out.append_pair(name, text),
                // Some programs write whole numbers as 10.0.
                Value::Number(number) => {
                    out.append_pair(name, number.to_string().trim_end_matches(".0"))
                }
                other => {
                    return Err(format!(
                        "{name:?} has the value {other}; it must be a string, a number or an array of them"
                    ));
                }
            };
        }
    }
    let query = out.finish();
    // The redirect that sets a cookie leads to the events, to which the client would publish its body.
    match form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "renew" && value == "cookie")
    {
        true => Err("renew is \"cookie\"; here it can only be \"ticket\"".to_owned()),
        false => Ok(query),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(query: &str, body: &str) -> Result<String, String> {
        query_of(query, body.as_bytes())
    }

    #[test]
    fn the_members_of_a_body_are_parameters() {
        let body = r#"{"topic":["a","b/c"],"from":"-10","heartbeat":5,"types":null}"#;
        assert_eq!(query("", body).unwrap(), "from=-10&heartbeat=5&topic=a&topic=b%2Fc");
        assert_eq!(query("_=1", r#"{"topic":"a b"}"#).unwrap(), "_=1&topic=a+b");
        assert_eq!(query("topic=a", "{}").unwrap(), "topic=a");
        assert_eq!(query("", r#"{"topic":"a","limit":10.0}"#).unwrap(), "limit=10&topic=a");
    }

    #[test]
    fn a_cookie_cannot_be_asked_for_beside_a_body_either() {
        for before in ["renew=cookie", "topic=a&ren%65w=cookie&ticket=t"] {
            assert!(query(before, r#"{"topic":"a"}"#).unwrap_err().contains("renew"), "{before}");
        }
    }

    #[test]
    fn a_refusal_of_a_body_names_the_member() {
        for (body, named) in [
            ("", "EOF"),
            ("[]", "invalid type"),
            (r#"{"topic":{"a":1}}"#, "\"topic\""),
            (r#"{"topic":[["a"]]}"#, "\"topic\""),
            (r#"{"types":true}"#, "\"types\""),
            (r#"{"topic":"t","renew":"cookie"}"#, "renew"),
        ] {
            let message = query("", body).unwrap_err();
            assert!(message.contains(named), "{body}: {message}");
        }
    }
}
