//! A closed cluster: two gateways in clear and two with TLS behind load balancers, and pages of other origins.

use loadtest::client::http;
use loadtest::client::publisher::Publisher;
use loadtest::machine::{Haproxy, Redis, Tailwater};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep};

use super::HOSTS;
use super::pages::Pages;
use crate::access::Mint;
use crate::support::{PATIENCE, gateway, ingest, metric};
use crate::tls::Issued;

/// A topic of the cluster.
pub(super) const TOPIC: &str = "steady";

pub(super) struct Protected {
    pub(super) mint: Mint,
    pub(super) clear: Side,
    pub(super) tls: Side,
    ingest: Tailwater,
    _redis: Redis,
    _files: (Issued, TempDir),
}

/// The gateways of one scheme, their load balancer, and a server of pages.
pub(super) struct Side {
    gateways: [Tailwater; 2],
    balancer: Haproxy,
    pages: Pages,
}

impl Side {
    /// The port of the gateways.
    pub(super) fn port(&self) -> u16 {
        self.balancer.addr().port()
    }

    /// The port of the pages of other origins.
    pub(super) const fn pages(&self) -> u16 {
        self.pages.port
    }
}

impl Protected {
    pub(super) async fn start() -> Self {
        let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
        let (issued, keys) = (Issued::new(), tempfile::tempdir().unwrap());
        let ticket_keys = keys.path().join("ticket.keys");
        std::fs::write(&ticket_keys, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
        let pages = [Pages::start(None).await, Pages::start(Some(&issued)).await];
        let mut origins = vec![format!("http://localhost:{}", pages[0].port)];
        origins.extend(HOSTS.map(|host| format!("https://{host}:{}", pages[1].port)));
        let node = |name: &str| {
            mint.close(gateway(&redis, name))
                .flag("--cors-origin", origins.join(","))
                .flag("--allow-host", HOSTS.join(","))
                .flag("--ticket-keys", ticket_keys.display().to_string())
        };
        let [clear_pages, tls_pages] = pages;
        let start = async |name: &str| node(name).start().await.unwrap();
        let gateways = [start("clear-1").await, start("clear-2").await];
        let balancer = Haproxy::start(&[&gateways[0], &gateways[1]]).await.unwrap();
        let clear = Side { gateways, balancer, pages: clear_pages };
        let start = async |name: &str| issued.encrypt(node(name)).start().await.unwrap();
        let gateways = [start("tls-1").await, start("tls-2").await];
        let balancer = Haproxy::start_tcp(&[&gateways[0], &gateways[1]]).await.unwrap();
        let tls = Side { gateways, balancer, pages: tls_pages };
        let ingest = mint.close(ingest(&redis)).flag("--anonymous", format!("publish={TOPIC}"));
        let ingest = ingest.start().await.unwrap();
        Self { mint, clear, tls, ingest, _redis: redis, _files: (issued, keys) }
    }

    /// Publishes numbers until it is told to stop.
    pub(super) fn publish(&self) -> Publishing {
        let mut publisher = Publisher::new(self.ingest.addr(), PATIENCE);
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut receipts = Vec::new();
            while stopped.try_recv().is_err() {
                let number = (receipts.len() + 1).to_string();
                let receipt =
                    publisher.publish(TOPIC, &format!("key-{number}"), number.clone()).await;
                receipts.push([receipt.unwrap().at.to_string(), number]);
                sleep(Duration::from_millis(25)).await;
            }
            receipts
        });
        Publishing { stop, task }
    }

    /// Kills one gateway of each side and returns their names.
    pub(super) fn kill(&mut self, index: usize) -> [String; 2] {
        [&mut self.clear, &mut self.tls].map(|side| {
            let gateway = &mut side.gateways[index];
            gateway.kill_nine().unwrap();
            gateway.node().to_owned()
        })
    }

    /// Starts the killed gateways again, until the load balancers know.
    pub(super) async fn restart(&mut self, index: usize) {
        for side in [&mut self.clear, &mut self.tls] {
            side.gateways[index].restart().await.unwrap();
            side.balancer.wait_ready().await.unwrap();
        }
    }

    /// Counts the requests that the gateways have refused for this reason since they were started.
    pub(super) async fn refusals(&self, reason: &str) -> usize {
        let name = format!("tailwater_auth_failures_total{{reason=\"{reason}\"}}");
        let mut all = 0.0;
        for gateway in self.clear.gateways.iter().chain(&self.tls.gateways) {
            all += metric(&gateway.metrics().await.unwrap(), &name).unwrap();
        }
        all as usize
    }

    /// Revokes everything of the user of all pages.
    pub(super) async fn revoke(&self) {
        let mut claims = Mint::claims("none", 600);
        claims.insert("tailwater".to_owned(), json!({ "admin": true }));
        claims.insert("sub".to_owned(), json!("root"));
        let bearer = format!("Bearer {}", self.mint.sign(&claims));
        let headers = [("authorization", &*bearer)];
        let mut client = http::Client::new(self.ingest.addr());
        let answer = client.post("/v1/revocations", &headers, r#"{"sub":"ann"}"#).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// A publisher at work.
pub(super) struct Publishing {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<[String; 2]>>,
}

impl Publishing {
    /// Stops it and returns id and data of all events.
    pub(super) async fn stop(self) -> Vec<[String; 2]> {
        self.stop.send(()).expect("it publishes");
        self.task.await.expect("all events are stored")
    }
}
