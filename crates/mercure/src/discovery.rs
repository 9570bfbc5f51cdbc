//! The ways in which clients find a hub, and learn which tokens it takes.

use serde::Serialize;

use crate::claims::DETAIL_TYPE;
use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::id::Id;

/// The media type of [`metadata`].
pub const METADATA_TYPE: &str = "application/json";

/// Facts about a hub that its metadata tell.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// The issuers of tokens that a client can ask for one; empty if tokens come in another way.
    pub authorization_servers: &'a [&'a str],
    /// True if active subscriptions are served.
    pub has_subscriptions: bool,
}

/// Metadata of a protected resource (RFC 9728).
#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    authorization_servers: &'a [&'a str],
    authorization_details_types_supported: [&'static str; 1],
    bearer_methods_supported: [&'static str; 1],
    mercure_cookie: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mercure_subscriptions: bool,
}

/// The header `Link` that names the hub, and the update after which a client should begin, if there is one.
#[must_use]
pub fn link(hub: &Hub, last_event_id: Option<&Id>) -> String {
    let link = format!("<{}>; rel=\"mercure\"", hub.url());
    match last_event_id.map(|id| quoted(id.as_str())) {
        Some(id) => format!("{link}; last-event-id=\"{id}\""),
        None => link,
    }
}

/// The body that is served at [`Hub::metadata_path`]. Only 1.0 knows of it.
///
/// # Panics
/// Never: texts are JSON.
#[must_use]
pub fn metadata(hub: &Hub, facts: &Facts<'_>) -> String {
    let metadata = Metadata {
        resource: hub.url(),
        authorization_servers: facts.authorization_servers,
        authorization_details_types_supported: [DETAIL_TYPE],
        bearer_methods_supported: ["header"],
        mercure_cookie: Dialect::V1.cookie(),
        mercure_subscriptions: facts.has_subscriptions,
    };
    serde_json::to_string(&metadata).expect("texts are JSON")
}

/// A text inside the quotes of a header.
fn quoted(text: &str) -> String {
    text.chars()
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    #[test]
    fn a_link_names_the_hub() {
        assert_eq!(
            link(&hub(), None),
            r#"<https://example.com/.well-known/mercure>; rel="mercure""#
        );
        assert_eq!(
            link(&hub(), Some(&Id::new(r#"a"b\c"#).unwrap())),
            r#"<https://example.com/.well-known/mercure>; rel="mercure"; last-event-id="a\"b\\c""#
        );
    }

    #[test]
    fn metadata_tell_what_tokens_a_hub_takes() {
        assert_eq!(
            metadata(&hub(), &Facts::default()),
            r#"{"resource":"https://example.com/.well-known/mercure","authorization_details_types_supported":["https://mercure.rocks/authorization-detail"],"bearer_methods_supported":["header"],"mercure_cookie":"__Secure-mercure_access_token"}"#
        );
        let facts =
            Facts { authorization_servers: &["https://auth.example"], has_subscriptions: true };
        let told = metadata(&hub(), &facts);
        assert!(told.contains(r#""authorization_servers":["https://auth.example"]"#), "{told}");
        assert!(told.ends_with(r#""mercure_subscriptions":true}"#), "{told}");
    }
}
