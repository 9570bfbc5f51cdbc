//! The addresses of a server for publishers and readers, and the form of its requests.

use std::net::SocketAddr;

use crate::cost::mint::Mint;

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
    /// The tokens that the server demands.
    pub mint: Option<&'static Mint>,
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
}

impl DriverEndpoint {
    /// A server that does both at one address.
    pub const fn at(address: SocketAddr, dialect: Dialect) -> Self {
        Self { publish: address, subscribe: address, dialect, origin: None, mint: None }
    }

    pub(super) fn publish_path(&self, topic: &str) -> String {
        match self.dialect {
            Dialect::Nchan => format!("/pub?topic={topic}"),
            _ => format!("/v1/events?topic={topic}"),
        }
    }

    pub(super) fn subscribe_path(&self, topic: &str) -> String {
        match self.dialect {
            Dialect::Nchan => format!("/sub?topic={topic}"),
            _ => format!("/v1/events?topic={topic}"),
        }
    }

    /// The header with the token of a client, if the server demands one.
    pub(super) fn authorization(&self, client: usize) -> String {
        let header = |mint: &Mint| format!("authorization: Bearer {}\r\n", mint.token(client));
        self.mint.map(header).unwrap_or_default()
    }

    /// The request by which a client opens a stream. With a cursor, it resumes there.
    pub(super) fn stream_request(
        &self,
        topic: &str,
        cursor: Option<&str>,
        client: usize,
    ) -> String {
        let path = self.subscribe_path(topic);
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
