//! An issuer that changes its keys, and whose key server goes away, while subscribers reconnect all the time.
//!
//! Takes minutes, so no other run includes it: `make access-long`.

mod crowd;
mod https;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use loadtest::client::sse::Connection;
use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use tokio::time::{Instant, sleep};

use super::{AUDIENCE, ISSUER, Mint};
use crate::support::{gateway, ingest, until};
use crowd::{Crowd, bearer, client, opened, published};
use https::KeyServer;
use pages::{Outcome, Page};

/// A part of the run in which nothing is new.
const CALM: Duration = Duration::from_secs(15);
/// A part in which the nodes may have to wait for a new key: longer than the least pause of their fetches.
const CHANGE: Duration = Duration::from_secs(40);
/// The absence of the key server.
const AWAY: Duration = Duration::from_mins(1);
/// The time between the last token of a key and its end: requests are under way.
const GRACE: Duration = Duration::from_secs(5);
/// The least time between two fetches of a node that has keys.
const PAUSE_SECONDS: u64 = 30;

/// A key of the issuer.
struct Signer {
    /// Its id.
    name: &'static str,
    mint: Mint,
}

impl Signer {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, mint: Mint::new(name) })
    }
}

struct Cluster {
    gateways: [Tailwater; 2],
    ingest: Tailwater,
    _redis: Redis,
}

impl Cluster {
    async fn start(keys: &KeyServer) -> Self {
        let redis = Redis::start().await.unwrap();
        let close = |node: TailwaterBuilder| {
            node.flag("--auth-jwks", keys.url())
                .flag("--auth-issuer", ISSUER)
                .flag("--auth-audience", AUDIENCE)
                .env("SSL_CERT_FILE", keys.authority())
        };
        let gateways = [
            close(gateway(&redis, "one")).start().await.unwrap(),
            close(gateway(&redis, "two")).start().await.unwrap(),
        ];
        let ingest = close(ingest(&redis)).start().await.unwrap();
        Self { gateways, ingest, _redis: redis }
    }

    fn nodes(&self) -> impl Iterator<Item = &Tailwater> {
        self.gateways.iter().chain([&self.ingest])
    }

    /// Brings a token of a key to each node once, and returns the answers.
    async fn ask(&self, signer: &Signer) -> Vec<Outcome> {
        let token = bearer(&signer.mint, "probe", "probe");
        let headers = [("authorization", &*token)];
        let mut answers = Vec::new();
        for gateway in &self.gateways {
            let path = "/v1/events?topic=probe";
            let mut stream = Connection::open(gateway.addr(), path, &headers).await.unwrap();
            answers.push(opened(&mut stream).await);
        }
        let mut client = client(self.ingest.addr());
        answers.push(published(&mut client, "probe", &token, "x").await);
        answers
    }

    async fn knows(&self, signer: &Signer) {
        until("every node has the key", async || {
            let answers = self.ask(signer).await;
            answers.iter().all(|answer| *answer == Outcome::Admitted)
        })
        .await;
    }

    async fn has_forgotten(&self, signer: &Signer) {
        until("no node has the key", async || {
            let answers = self.ask(signer).await;
            !answers.contains(&Outcome::Admitted)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes five minutes: make access-long"]
async fn no_honest_request_is_refused_while_keys_rotate_and_their_server_is_away() {
    let [first, second, third] = ["first", "second", "third"].map(Signer::new);
    let mut keys = KeyServer::start(&[&first.mint]).await;
    let cluster = Cluster::start(&keys).await;
    cluster.knows(&first).await;
    let begin = Instant::now();
    let gateways = cluster.gateways.each_ref().map(Tailwater::addr);
    let crowd = Crowd::new(Page::new("one key", &[&first], &[]));
    let load = crowd.start(gateways, cluster.ingest.addr());
    sleep(CALM).await;

    keys.publish(&[&first.mint, &second.mint]);
    crowd.turn(Page::new("a new key signs as soon as it is published", &[&first], &[&second]));
    sleep(CHANGE).await;
    cluster.knows(&second).await;

    keys.leave().await;
    crowd.turn(Page::new("the key server is away", &[&first, &second], &[]));
    sleep(AWAY).await;

    crowd.turn(Page::new("it comes back without the old key", &[&second], &[]));
    sleep(GRACE).await;
    keys.publish(&[&second.mint]);
    keys.come_back().await;
    sleep(CHANGE).await;
    cluster.has_forgotten(&first).await;

    // The harder rotation: no node can have seen the key that signs.
    keys.leave().await;
    crowd.turn(Page::new("a new key signs, and the key server is away", &[&second], &[&third]));
    sleep(AWAY).await;

    keys.publish(&[&second.mint, &third.mint]);
    keys.come_back().await;
    crowd.turn(Page::new("it is back, with both keys", &[&second], &[&third]));
    sleep(CHANGE).await;
    cluster.knows(&third).await;

    crowd.turn(Page::new("one key again", &[&third], &[]));
    sleep(GRACE).await;
    keys.publish(&[&third.mint]);
    sleep(CHANGE).await;
    cluster.has_forgotten(&second).await;
    let pages = crowd.stop(load).await;

    let seconds = begin.elapsed().as_secs();
    println!("{}", pages::table(&pages));
    println!("{} sets served to three nodes in {seconds} s", keys.served());
    for node in cluster.nodes() {
        let metrics = node.metrics().await.unwrap();
        let fetches = metrics.lines().filter(|line| line.contains("auth_key_fetches_total{"));
        println!("{}: {}", node.node(), fetches.collect::<Vec<_>>().join(" "));
    }
    pages.iter().for_each(|page| page.judge());
    let most = 3 * (seconds / PAUSE_SECONDS + 2);
    assert!(keys.served() <= most, "strangers make a node fetch at most every 30 s");
}
