//! Subscribers that reconnect all the time, publishers, and bearers of bad tokens.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use loadtest::client::http;
use loadtest::client::sse::Connection;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout_at};

use super::pages::{Holder, Outcome, Page, Way};
use crate::access::Mint;
use crate::support::PATIENCE;

const READERS: usize = 240;
/// Publishers, each with a topic of its own.
const TOPICS: usize = 10;
/// The time between two events of a topic: 66 events a second in all.
const PACE: Duration = Duration::from_millis(150);
/// The shortest and longest time for which a reader stays, in milliseconds.
const STAY: std::ops::Range<u64> = 500..2500;
/// The pause of a reader whose stream was postponed, and of bearers of bad tokens.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Crowd {
    pages: Mutex<Vec<Arc<Page>>>,
    is_over: AtomicBool,
}

impl Crowd {
    pub(super) fn new(first: Arc<Page>) -> Arc<Self> {
        let crowd = Self { pages: Mutex::default(), is_over: AtomicBool::new(false) };
        crowd.turn(first);
        Arc::new(crowd)
    }

    /// Begins the next part.
    pub(super) fn turn(&self, page: Arc<Page>) {
        println!("{}", page.title());
        self.pages.lock().unwrap().push(page);
    }

    pub(super) fn start(
        self: &Arc<Self>,
        gateways: [SocketAddr; 2],
        ingest: SocketAddr,
    ) -> JoinSet<()> {
        let mut load = JoinSet::new();
        for number in 0..READERS {
            load.spawn(Arc::clone(self).read(gateways[number % 2], number));
        }
        for number in 0..TOPICS {
            load.spawn(Arc::clone(self).publish(ingest, number));
        }
        for holder in [Holder::Stranger, Holder::Forger] {
            for gateway in gateways {
                load.spawn(Arc::clone(self).intrude(gateway, Way::Stream, holder));
            }
            load.spawn(Arc::clone(self).intrude(ingest, Way::Publish, holder));
        }
        load
    }

    /// Ends the load, and returns its pages. Fails if a task has failed.
    pub(super) async fn stop(&self, mut load: JoinSet<()>) -> Vec<Arc<Page>> {
        self.is_over.store(true, Relaxed);
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut self.pages.lock().unwrap())
    }

    /// The part in which a request begins; `None` at the end.
    fn page(&self) -> Option<Arc<Page>> {
        (!self.is_over.load(Relaxed)).then(|| self.pages.lock().unwrap().last().cloned())?
    }

    /// Opens a stream, takes the events of a moment, closes it and goes on from its cursor with another token.
    async fn read(self: Arc<Self>, gateway: SocketAddr, number: usize) {
        let topic = format!("load/{}", number % TOPICS);
        let path = format!("/v1/events?topic={topic}");
        let (subject, mut cursor, mut last) = (format!("reader-{number}"), String::new(), None);
        while let Some(page) = self.page() {
            let signer = page.signer();
            let token = bearer(&signer.mint, &subject, &topic);
            let mut headers = vec![("authorization", &*token)];
            if !cursor.is_empty() {
                headers.push(("last-event-id", &cursor));
            }
            let mut stream = Connection::open(gateway, &path, &headers).await.unwrap();
            let outcome = match opened(&mut stream).await {
                Outcome::Postponed if !lacks_key(gateway, &path, &token).await => Outcome::Busy,
                outcome => outcome,
            };
            let is_open = outcome == Outcome::Admitted;
            page.note(Holder::Honest(signer.name), Way::Stream, outcome);
            if is_open {
                take(&mut stream, &mut last).await;
                stream.last_event_id().clone_into(&mut cursor);
            } else {
                sleep(PAUSE).await;
            }
        }
        assert!(last.is_some(), "{subject} has read nothing");
    }

    /// Publishes the numbers of a topic, each until it is taken.
    async fn publish(self: Arc<Self>, ingest: SocketAddr, number: usize) {
        let (topic, subject) = (format!("load/{number}"), format!("publisher-{number}"));
        let (mut client, mut pace, mut next) = (client(ingest), interval(PACE), 0_u64);
        while let Some(page) = self.page() {
            pace.tick().await;
            let signer = page.signer();
            let token = bearer(&signer.mint, &subject, &topic);
            let outcome = published(&mut client, &topic, &token, &next.to_string()).await;
            next += u64::from(outcome == Outcome::Admitted);
            page.note(Holder::Honest(signer.name), Way::Publish, outcome);
        }
    }

    /// Tries to come in with tokens that no published key has signed.
    async fn intrude(self: Arc<Self>, node: SocketAddr, way: Way, holder: Holder) {
        let (mut client, mut mints) = (client(node), HashMap::new());
        while let Some(page) = self.page() {
            let id = if holder == Holder::Forger { page.known_id() } else { "never published" };
            let mint = mints.entry(id).or_insert_with(|| Mint::new(id));
            let token = bearer(mint, "intruder", "load/0");
            let outcome = match way {
                Way::Publish => published(&mut client, "load/0", &token, "forged").await,
                Way::Stream => {
                    let headers = [("authorization", &*token)];
                    let path = "/v1/events?topic=load/0";
                    let mut stream = Connection::open(node, path, &headers).await.unwrap();
                    opened(&mut stream).await
                }
            };
            page.note(holder, way, outcome);
            sleep(PAUSE).await;
        }
    }
}

/// A client of a node, which may be slow on a machine that is busy.
pub(super) fn client(node: SocketAddr) -> http::Client {
    http::Client::new(node).timeout(PATIENCE)
}

/// A header with a token like no other, so that no node remembers it.
pub(super) fn bearer(mint: &Mint, subject: &str, topic: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut claims = Mint::claims(topic, 600);
    claims.insert("sub".to_owned(), json!(subject));
    claims.insert("jti".to_owned(), json!(NUMBER.fetch_add(1, Relaxed).to_string()));
    format!("Bearer {}", mint.sign(&claims))
}

/// Reads a stream up to its first event.
pub(super) async fn opened(stream: &mut Connection) -> Outcome {
    if stream.status() != 200 {
        return Outcome::Refused(stream.status().to_string());
    }
    let first = stream.next_event().await.expect("a stream begins with an event");
    let data: Value = serde_json::from_str(&first.data).unwrap();
    match (first.event_type(), data["reason"].as_str()) {
        ("tailwater.ready", _) => Outcome::Admitted,
        ("tailwater.reconnect", Some("unavailable")) => Outcome::Postponed,
        (kind, _) => Outcome::Refused(format!("{kind} {}", first.data)),
    }
}

/// Asks for the reason of a stream that is unavailable: a long-poll names it.
async fn lacks_key(gateway: SocketAddr, path: &str, token: &str) -> bool {
    let headers = [("authorization", token), ("accept", "application/json")];
    let path = format!("{path}&wait=0");
    let answer = client(gateway).request(Method::GET, &path, &headers, Bytes::new()).await;
    let body: Value = answer.unwrap().json().unwrap();
    body["error"]["code"] == "keys_unavailable"
}

pub(super) async fn published(
    client: &mut http::Client,
    topic: &str,
    token: &str,
    data: &str,
) -> Outcome {
    let path = format!("/v1/events?topic={topic}");
    // A publisher repeats a number that was not acknowledged.
    let headers = [("authorization", token), ("idempotency-key", data)];
    let answer = client.post(&path, &headers, data.to_owned()).await.unwrap();
    let body: Value = answer.json().unwrap();
    match (answer.status, body["error"]["code"].as_str()) {
        (200, _) => Outcome::Admitted,
        (503, Some("keys_unavailable")) => Outcome::Postponed,
        (429 | 503, _) => Outcome::Busy,
        (status, code) => Outcome::Refused(format!("{status} {}", code.unwrap_or_default())),
    }
}

/// Takes the events of a moment, of which each has the number after the last one's.
async fn take(stream: &mut Connection, last: &mut Option<u64>) {
    let end = Instant::now() + Duration::from_millis(fastrand::u64(STAY));
    while let Ok(event) = timeout_at(end, stream.next_event()).await {
        let event = event.expect("the node keeps the stream open");
        let number = event.data.parse().unwrap_or_else(|_| panic!("{event:?}"));
        assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
        *last = Some(number);
    }
}
