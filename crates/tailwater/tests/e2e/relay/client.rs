//! The caller of a relay, and the reader of an answer.

use std::net::SocketAddr;

use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;

use super::upstream::{TOKENS, Upstream, token};
use crate::support::{PATIENCE, TAILWATER};

/// The path of a chat.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A relay with its log in Redis, or embedded.
pub(crate) fn relay(upstream: &Upstream, redis: Option<&Redis>) -> TailwaterBuilder {
    let relay = Tailwater::relay(TAILWATER, &upstream.url(""))
        .flag("--drain-delay", "100ms")
        .flag("--drain-window", "2s");
    match redis {
        Some(redis) => relay.redis(redis),
        None => relay,
    }
}

/// An HTTP client that follows no redirect.
pub(crate) fn http() -> Client {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().redirect(reqwest::redirect::Policy::none());
    client.timeout(PATIENCE).pool_max_idle_per_host(0).build().unwrap()
}

/// The URL of a path at a node.
pub(crate) fn at(node: SocketAddr, path: &str) -> String {
    format!("http://{node}{path}")
}

/// A caller that reads the answer to a chat.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) response: Response,
    pub(crate) location: String,
    pub(crate) topic: String,
    text: String,
}

impl Caller {
    /// Asks for a chat.
    pub(crate) async fn chat(node: SocketAddr) -> Caller {
        let request = http().post(at(node, CHAT)).body(r#"{"stream":true}"#);
        Caller::of(request.send().await.unwrap())
    }

    pub(crate) fn of(response: Response) -> Caller {
        assert_eq!(response.status(), StatusCode::OK);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let (location, topic) = (header("location"), header("tailwater-topic"));
        Caller { response, location, topic, text: String::new() }
    }

    /// The reader of a topic.
    pub(crate) fn of_stream(response: Response) -> Caller {
        assert_eq!(response.status(), StatusCode::OK);
        let (location, topic) = (String::new(), String::new());
        Caller { response, location, topic, text: String::new() }
    }

    /// The id of the last event that was read.
    pub(crate) fn last_id(&self) -> String {
        let mut ids = self.text.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.next_back().expect("an event with an id").to_owned()
    }

    /// Reads until the answer has this token.
    pub(crate) async fn until_token(&mut self, n: usize) {
        self.until(&format!("token-{n} ")).await;
    }

    /// Reads until the answer has this text.
    pub(crate) async fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let piece = timeout(PATIENCE, self.response.chunk()).await.expect("a piece in time");
            let piece = piece.unwrap().expect("the answer goes on");
            self.text.push_str(str::from_utf8(&piece).unwrap());
        }
    }

    /// Reads to the end, and returns the whole body.
    pub(crate) async fn rest(mut self) -> Result<String, reqwest::Error> {
        while let Some(piece) = self.response.chunk().await? {
            self.text.push_str(str::from_utf8(&piece).unwrap());
        }
        Ok(self.text)
    }
}

/// An event as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: String,
    pub(crate) data: String,
    pub(crate) id: String,
}

/// Reads a stream of events, and returns them with true if the stream ended in order.
pub(crate) async fn read(response: Response) -> (Vec<Seen>, bool) {
    let (mut response, mut parser, mut seen) = (response, sse::Parser::default(), Vec::new());
    let mut take = |event: sse::Event| {
        let kind = event.event_type().to_owned();
        seen.push(Seen { kind, data: event.data, id: event.id });
    };
    let is_whole = loop {
        match timeout(PATIENCE, response.chunk()).await.expect("a piece in time") {
            Ok(Some(piece)) => parser.feed(&piece, &mut take),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    (seen, is_whole)
}

/// Reads the answer in a topic from a node, from its beginning.
pub(crate) async fn reread(node: SocketAddr, location: &str) -> Vec<Seen> {
    let response = http().get(at(node, location)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (seen, is_whole) = read(response).await;
    assert!(is_whole, "the stream ends in order after {} events", seen.len());
    seen
}

/// The data of a whole chat.
pub(crate) fn chat_data() -> Vec<String> {
    (0..TOKENS).map(token).chain(["[DONE]".to_owned()]).collect()
}

/// The data of events.
pub(crate) fn data(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.data.clone()).collect()
}
