//! Gateways that drain, and gateways that are killed.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::client::publisher::Publisher;
use loadtest::client::sse::Connection;
use loadtest::machine::{Haproxy, Redis, Tailwater};
use loadtest::scenario::{Common, drain};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::reader::Reader;
use crate::support::{
    PATIENCE, TAILWATER, gateway, ingest, metric, patient_serve, publish_numbers, serve, status,
    until,
};

const LAST: u32 = 300;
const READERS: usize = 20;

/// Two gateways behind HAProxy, readers on both, and a steady stream of events.
struct Scene {
    _redis: Redis,
    _ingest: Tailwater,
    _haproxy: Haproxy,
    gateways: [Tailwater; 2],
    readers: Vec<JoinHandle<Reader>>,
    publishing: JoinHandle<()>,
}

impl Scene {
    async fn begin() -> Scene {
        let redis = Redis::start().await.unwrap();
        let ingest = ingest(&redis).start().await.unwrap();
        let gateways = [
            gateway(&redis, "gw-1").start().await.unwrap(),
            gateway(&redis, "gw-2").start().await.unwrap(),
        ];
        let haproxy = Haproxy::start(&[&gateways[0], &gateways[1]]).await.unwrap();
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut reader = Reader::open(haproxy.addr(), "topic=steady").await;
            readers.push(tokio::spawn(async move {
                reader.numbers(1, LAST).await;
                reader
            }));
        }
        let mut publisher = Publisher::new(ingest.addr(), PATIENCE);
        let publishing = tokio::spawn(async move {
            for n in 1..=LAST {
                let key = format!("key-{n}");
                publisher.publish("steady", &key, n.to_string()).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
        });
        sleep(Duration::from_secs(1)).await;
        Scene { _redis: redis, _ingest: ingest, _haproxy: haproxy, gateways, readers, publishing }
    }

    /// Waits until every reader has every event exactly once and in order. Returns the readers that had
    /// to reconnect.
    async fn end(self) -> Vec<Reader> {
        self.publishing.await.unwrap();
        let mut moved = Vec::new();
        for reader in self.readers {
            let reader = reader.await.unwrap();
            assert!(reader.gaps().is_empty(), "{:?}", reader.gaps());
            assert_eq!(reader.stats().refused, 0, "an EventSource would be dead");
            if reader.streams() > 1 {
                moved.push(reader);
            }
        }
        moved
    }
}

#[tokio::test]
async fn clients_of_a_killed_gateway_continue_on_another_without_loss() {
    let mut scene = Scene::begin().await;
    scene.gateways[0].kill_nine().unwrap();
    let moved = scene.end().await;
    assert!(moved.len() >= READERS / 4, "only {} readers were on it", moved.len());
    for reader in moved {
        assert_eq!(reader.ready().outcome, "exact");
        assert_eq!(reader.ready().node, "gw-2");
    }
}

#[tokio::test]
async fn a_gateway_that_is_told_to_stop_moves_all_clients_to_another_and_exits_with_0() {
    let mut scene = Scene::begin().await;
    let leaving = &scene.gateways[0];
    let served = metric(&leaving.metrics().await.unwrap(), "tailwater_connections").unwrap();
    assert!(served >= 1.0, "HAProxy gave it some");
    leaving.begin_termination().unwrap();
    let admin = leaving.admin_addr();
    until("the gateway is not ready", async || status(admin, "/readyz").await == Some(503)).await;
    assert_eq!(status(admin, "/livez").await, Some(200));
    assert_eq!(scene.gateways[0].wait_exit().await.unwrap().code(), Some(0));
    let log = scene.gateways[0].log();
    assert!(log.contains("handed connections away") && log.contains("left=0"), "{log}");

    let moved = scene.end().await;
    assert!(moved.len() as f64 >= served, "{} of {served} readers moved", moved.len());
    for reader in moved {
        // A client that HAProxy sends to the draining gateway is told to reconnect at once.
        let mut reasons = reader.reconnects();
        reasons.dedup();
        assert_eq!(reasons, ["drain"], "{:?}", reader.controls);
        assert_eq!(
            (reader.ready().outcome.as_str(), reader.ready().node.as_str()),
            ("exact", "gw-2")
        );
        assert_eq!(reader.stats().failed, 0);
    }
}

/// A small version of `make drain`.
#[tokio::test]
async fn a_gateway_full_of_clients_refuses_none_and_cuts_none_off() {
    let out = tempfile::tempdir().unwrap();
    let common =
        Common { tailwater: Some(TAILWATER.into()), out: Some(out.path().join("drain")), seed: 1 };
    let options = drain::Options {
        common,
        clients: 500,
        topics: 20,
        rate: 100,
        event_bytes: 200,
        // HAProxy needs one second to notice the drain.
        drain_delay: Duration::from_secs(2),
        drain_window: Duration::from_secs(4),
        shutdown_grace: Duration::from_secs(5),
    };
    let report = Box::pin(drain::run(&options)).await.unwrap();
    assert_eq!(report.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let patient = patient_serve().flag("--drain-delay", "1h");
    let mut node = patient.start().await.unwrap();
    let _reader = Reader::open(node.addr(), "topic=t").await;
    node.begin_termination().unwrap();
    let admin = node.admin_addr();
    until("the gateway is not ready", async || status(admin, "/readyz").await == Some(503)).await;
    assert!(node.is_running());
    assert_eq!(node.terminate().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_node_without_clients_stops_before_its_window_has_passed() {
    let mut node = patient_serve().flag("--drain-delay", "1s").start().await.unwrap();
    assert_eq!(node.terminate().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_connection_at_its_maximum_age_is_closed_and_its_client_resumes() {
    // The smallest maximum age, 10 s, which closes a connection after 8 s to 12 s.
    let node = serve().flag("--max-age", "10s").start().await.unwrap();
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    while reader.streams() < 2 {
        reader.control().await;
    }
    assert_eq!(reader.reconnects(), ["max_age"]);
    assert_eq!(reader.ready().outcome, "exact");
    crate::support::publish(node.addr(), "t", "after").await;
    assert_eq!(reader.event().await.data, "after");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_keep_a_node_from_stopping() {
    let node = serve().flag("--history-events", "30000").flag("--shutdown-grace", "1s");
    let mut node = node.start().await.unwrap();
    let mut stalled = Connection::open(node.addr(), "/v1/events?topic=flood", &[]).await.unwrap();
    assert_eq!(stalled.next_event().await.unwrap().event_type(), "tailwater.ready");
    // More bytes than the buffers of the sockets hold.
    publish_numbers(node.addr(), "flood", 1..=20_000, 1024).await;
    assert_eq!(node.terminate().await.unwrap().code(), Some(0));
    assert!(node.log().contains("left=1"), "{}", node.log());
    // The client has whole events and no `reconnect`, because its connection was cut.
    let mut last = 0;
    while let Some(event) = stalled.next_event().await {
        last += 1;
        assert_eq!(event.data.trim_end(), last.to_string());
    }
    assert!(last < 20_000);
}

#[tokio::test]
async fn a_client_of_http2_is_told_to_open_another_connection() {
    let node = patient_serve().flag("--drain-delay", "0s").start().await.unwrap();
    let socket = TokioIo::new(TcpStream::connect(node.addr()).await.unwrap());
    let handshake = http2::handshake::<_, _, Body>(TokioExecutor::new(), socket);
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut subscribe = || {
        let uri = format!("http://{}/v1/events?topic=t", node.addr());
        client.send_request(Request::get(uri).body(Body::empty()).unwrap())
    };
    let mut stream = subscribe().await.unwrap().into_body();
    assert!(stream.frame().await.unwrap().is_ok(), "ready");

    node.begin_termination().unwrap();
    until("the connection accepts no request", async || subscribe().await.is_err()).await;
    // Open streams continue until they are closed at their own moments.
    crate::support::publish(node.addr(), "t", "still here").await;
    let bytes = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(bytes.starts_with(b"data: still here\n"), "{bytes:?}");
}
