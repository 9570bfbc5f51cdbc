//! A hub of three gateways on Redis, one of which dies under its clients.

use std::net::SocketAddr;

use loadtest::client::sse::{EventSource, Signal};
use loadtest::machine::Redis;
use tokio::time::timeout;

use super::hub::{Keys, PATH, publish, v0};
use crate::support::{PATIENCE, gateway, ingest};

const UPDATES: usize = 120;

/// The data of updates, in order.
type Data = Vec<String>;

/// A browser that moves to the next gateway when it loses its stream.
struct Browser {
    client: EventSource,
    gateways: Vec<SocketAddr>,
    turn: usize,
}

impl Browser {
    /// Opens a stream and waits for the first update, which gives it an id to come back with.
    async fn open(gateways: &[SocketAddr], turn: usize, query: &str) -> Self {
        let mut client = EventSource::new(gateways[turn], format!("{PATH}?{query}"));
        client =
            client.header("authorization", &format!("Bearer {}", v0(&[], &["https://x/{a}/{b}"])));
        client.set_last_event_id("first");
        Self { client, gateways: gateways.to_vec(), turn }
    }

    /// Reads until the update whose data is `end`.
    async fn read(mut self) -> Data {
        let mut data = Vec::new();
        loop {
            match timeout(PATIENCE, self.client.next()).await.expect("something comes") {
                Signal::Event(event) if event.data == "end" => return data,
                Signal::Event(event) => data.push(event.data),
                Signal::Open { .. } => {}
                Signal::Lost | Signal::Failed => {
                    self.turn = (self.turn + 1) % self.gateways.len();
                    self.client.set_addr(self.gateways[self.turn]);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn every_update_arrives_exactly_once_while_a_gateway_dies() {
    let redis = Redis::start().await.unwrap();
    let keys = Keys::new();
    let publisher = keys.close(ingest(&redis)).start().await.unwrap();
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        nodes.push(keys.close(gateway(&redis, name)).start().await.unwrap());
    }
    let gateways: Vec<_> = nodes.iter().map(|node| node.addr()).collect();
    let token = v0(&["*"], &[]);
    let to = publisher.addr();
    publish(to, &token, &[("topic", "https://x/a/0"), ("id", "first")]).await;
    let queries = [
        ("topic=https://x/a/1&topic=https://x/a/end", "1"),
        ("topic=https://x/a/%7Bid%7D", "012"),
        ("match_urlpattern=https://x/:kind/2&match=https://x/a/end", "2"),
        ("topic=*", "012"),
    ];
    let mut browsers = Vec::new();
    for turn in 0..gateways.len() {
        for (query, gets) in queries {
            let browser = Browser::open(&gateways, turn, query).await;
            browsers.push((tokio::spawn(browser.read()), query, gets));
        }
    }
    for n in 0..UPDATES {
        let (topic, data, id) =
            (format!("https://x/a/{}", n % 3), n.to_string(), format!("id {n}"));
        let mut fields = vec![("topic", &*topic), ("data", &*data)];
        // Some have ids of their publisher, which a browser brings back, and some are private.
        if n % 4 > 1 {
            fields.push(("id", &id));
        }
        if n % 5 == 0 {
            fields.push(("private", "on"));
        }
        publish(to, &token, &fields).await;
        if n == UPDATES / 2 {
            nodes[0].kill_nine().unwrap();
        }
    }
    publish(to, &token, &[("topic", "https://x/a/end"), ("data", "end")]).await;
    for (browser, query, gets) in browsers {
        let expected: Data = (0..UPDATES)
            .filter(|n| gets.contains(&(n % 3).to_string()))
            .map(|n| n.to_string())
            .collect();
        assert_eq!(browser.await.unwrap(), expected, "{query}");
    }
}
