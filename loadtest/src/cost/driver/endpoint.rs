//! The addresses of a server for publishers and readers, and the form of its requests.

use std::net::SocketAddr;

use form_urlencoded::byte_serialize;
use serde_json::json;

use super::stamp;
use crate::cost::mint::{Mint, Rights};

/// The two addresses of a server, which may be the same, and the form of its requests.
#[derive(Debug, Clone, Copy)]
pub struct DriverEndpoint {
    /// The address for publishers.
    pub publish: SocketAddr,
    /// The address for readers.
    pub subscribe: SocketAddr,
    /// The form of its URLs.
    pub dialect: Dialect,
    /// The web origin that readers send.
    pub origin: Option<&'static str>,
    /// The tokens of readers.
    pub mint: Option<&'static Mint>,
    /// The token of publishers.
    pub publisher: Option<&'static str>,
}

/// The URLs of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// One resource, `/v1/events`.
    Tailwater,
    /// `/pub` and `/sub`.
    Nchan,
    /// One resource, read over WebSocket.
    WebSocket,
    /// One resource, `/.well-known/mercure`, that takes forms.
    Mercure,
    /// `/api/publish`, which takes JSON, and `/connection/uni_sse`.
    Centrifugo,
}

impl Dialect {
    /// The prefix of the driver's payload, as it stands in a stream.
    pub(super) const fn mark(self) -> &'static [u8] {
        match self {
            Self::Centrifugo => stamp::JSON_MARK,
            _ => stamp::MARK,
        }
    }

    /// The rights of a reader with one topic of its own.
    const fn rights_of_a_topic(self) -> Rights {
        match self {
            Self::Mercure => Rights::MercureTopic,
            Self::Centrifugo => Rights::CentrifugoTopic,
            _ => Rights::Topic,
        }
    }
}

impl DriverEndpoint {
    /// A server that does both at one address.
    pub const fn at(address: SocketAddr, dialect: Dialect) -> Self {
        Self {
            publish: address,
            subscribe: address,
            dialect,
            origin: None,
            mint: None,
            publisher: None,
        }
    }

    /// The same server for readers that each have a token for one topic, which nobody else may
    /// read.
    ///
    /// # Errors
    /// When a token cannot be made.
    pub fn with_private_topics(self) -> anyhow::Result<Self> {
        Ok(Self { mint: Some(Mint::of_topics(self.dialect.rights_of_a_topic())?), ..self })
    }

    /// The request by which an event is published.
    pub(super) fn publish_request(&self, topic: &str, payload: &str) -> String {
        let (path, media_type, body) = match self.dialect {
            Dialect::Nchan => (format!("/pub?topic={topic}"), "text/plain", payload.to_owned()),
            Dialect::Mercure => {
                // Public events reach readers without a token as well.
                let private = if self.mint.is_some() { "&private=on" } else { "" };
                let form = format!("topic={}&data={}{private}", escaped(topic), escaped(payload));
                ("/.well-known/mercure".to_owned(), "application/x-www-form-urlencoded", form)
            }
            Dialect::Centrifugo => {
                let event = json!({ "channel": topic, "data": payload });
                ("/api/publish".to_owned(), "application/json", event.to_string())
            }
            Dialect::Tailwater | Dialect::WebSocket => {
                (format!("/v1/events?topic={topic}"), "text/plain", payload.to_owned())
            }
        };
        let (authorization, length) = (self.publisher_authorization(), body.len());
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}content-type: {media_type}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    }

    pub(super) fn subscribe_path(&self, topic: &str, client: usize) -> String {
        match self.dialect {
            Dialect::Nchan => format!("/sub?topic={topic}"),
            Dialect::Mercure => format!("/.well-known/mercure?topic={}", escaped(topic)),
            Dialect::Centrifugo => {
                // A token names the topics of its client.
                let connect = match self.mint {
                    Some(mint) => json!({ "token": mint.token(client) }),
                    None => json!({ "subs": { topic: {} } }),
                };
                format!("/connection/uni_sse?cf_connect={}", escaped(&connect.to_string()))
            }
            Dialect::Tailwater | Dialect::WebSocket => format!("/v1/events?topic={topic}"),
        }
    }

    /// The header with the token of a reader, if the server takes one there.
    pub(super) fn authorization(&self, client: usize) -> String {
        let mint = self.mint.filter(|_| self.dialect != Dialect::Centrifugo);
        mint.map(|mint| bearer(mint.token(client))).unwrap_or_default()
    }

    /// The header with the token of a publisher, if the server demands one.
    pub(super) fn publisher_authorization(&self) -> String {
        self.publisher.map(bearer).unwrap_or_default()
    }

    /// The request by which a client opens a stream. With a cursor, it resumes there.
    pub(super) fn stream_request(
        &self,
        topic: &str,
        cursor: Option<&str>,
        client: usize,
    ) -> String {
        let path = self.subscribe_path(topic, client);
        if self.dialect == Dialect::WebSocket {
            return format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
        }
        let header = |name, value: Option<&str>| {
            value.map(|value| format!("{name}: {value}\r\n")).unwrap_or_default()
        };
        let authorization = self.authorization(client);
        let (cursor, origin) = (header("last-event-id", cursor), header("origin", self.origin));
        format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
             {origin}{authorization}{cursor}\r\n"
        )
    }
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// A value of a query or a form.
fn escaped(value: &str) -> String {
    byte_serialize(value.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Dialect, DriverEndpoint};

    fn endpoint(dialect: Dialect) -> DriverEndpoint {
        DriverEndpoint::at("127.0.0.1:1".parse().unwrap(), dialect)
    }

    fn body(request: &str) -> &str {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        body
    }

    #[test]
    fn each_server_gets_the_event_in_its_own_form() {
        let published = |dialect| endpoint(dialect).publish_request("bench/1", "#1 2 a");
        assert_eq!(body(&published(Dialect::Tailwater)), "#1 2 a");
        assert_eq!(body(&published(Dialect::Mercure)), "topic=bench%2F1&data=%231+2+a");
        let json = r##"{"channel":"bench/1","data":"#1 2 a"}"##;
        assert_eq!(body(&published(Dialect::Centrifugo)), json);
    }

    #[test]
    fn readers_without_tokens_name_their_topic() {
        let path = |dialect| endpoint(dialect).subscribe_path("bench/{number}", 0);
        assert_eq!(path(Dialect::Mercure), "/.well-known/mercure?topic=bench%2F%7Bnumber%7D");
        let connect = "%7B%22subs%22%3A%7B%22bench%2F%7Bnumber%7D%22%3A%7B%7D%7D%7D";
        assert_eq!(path(Dialect::Centrifugo), format!("/connection/uni_sse?cf_connect={connect}"));
    }

    #[test]
    fn private_topics_need_the_token_of_their_reader() {
        for dialect in [Dialect::Tailwater, Dialect::Mercure] {
            let endpoint = endpoint(dialect).with_private_topics().unwrap();
            let request = |client| endpoint.stream_request("bench-00000", None, client);
            assert!(request(0).contains("authorization: Bearer "));
            assert_ne!(request(0), request(1));
        }
        let centrifugo = endpoint(Dialect::Centrifugo).with_private_topics().unwrap();
        let request = centrifugo.stream_request("bench-00000", None, 0);
        assert!(request.contains("cf_connect=%7B%22token%22%3A%22") && !request.contains("Bearer"));
        let mercure = endpoint(Dialect::Mercure).with_private_topics().unwrap();
        assert!(mercure.publish_request("bench-00000", "#1").ends_with("&private=on"));
    }
}
