//! A gateway that drains its connections.

use std::time::Duration;

use gateway::{Config, NotReady};
use tokio::time::{Instant, sleep};

use crate::client::ACCEPT_JSON;
use crate::log::Publish as _;
use crate::node::Node;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn readiness_is_gone_at_once_and_clients_are_served_until_the_delay_is_over() {
    let node = Node::start().await;
    let probing = {
        let gateway = node.gateway.clone();
        async move { gateway.run_probe().await }
    };
    let probing = tokio::spawn(probing);
    while node.gateway.ready().is_err() {
        assert_eq!(node.gateway.ready(), Err(NotReady::Starting));
        sleep(millis(5)).await;
    }
    let mut before = node.subscribe("topic=t").await;
    before.ready().await;
    let gateway = node.gateway.clone();
    let drained =
        tokio::spawn(async move { gateway.drain(millis(500), millis(100), millis(5000)).await });
    node.until("tailwater_draining", 1.0).await;
    assert_eq!(node.gateway.ready(), Err(NotReady::Draining));
    // The load balancers have not noticed yet, so a new client is served.
    let mut late = node.subscribe("topic=t").await;
    assert_eq!(late.ready().await, "live");
    assert_eq!(node.poll("topic=t").await.status, 200);
    node.log.publish("t", "still served").await;
    for stream in [&mut before, &mut late] {
        assert_eq!(stream.data(1).await, ["still served"]);
        assert_eq!(stream.control("reconnect").await.1["reason"], "drain");
        stream.ends().await;
    }
    assert_eq!(drained.await.unwrap(), 0);
    probing.abort();
}

#[tokio::test]
async fn a_drain_closes_each_connection_at_its_own_moment_with_its_cursor_and_a_pause() {
    const CLIENTS: usize = 24;
    let node = Node::start().await;
    let last = node.log.publish("t", "a").await;
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = node.subscribe("topic=t").await;
        stream.ready().await;
        streams.push(stream);
    }
    let start = Instant::now();
    let clients = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let (event, json) = stream.control("reconnect").await;
            assert_eq!(json["reason"], "drain");
            let at = start.elapsed();
            stream.ends().await;
            (event.id, stream.retry().unwrap(), at)
        })
    });
    let clients: Vec<_> = clients.collect();
    let window = millis(600);
    assert_eq!(node.gateway.drain(Duration::ZERO, window, millis(10_000)).await, 0);
    let (mut pauses, mut moments) = (Vec::new(), Vec::new());
    for client in clients {
        let (id, pause, at) = client.await.unwrap();
        assert_eq!(id, last.to_string());
        assert!((millis(2000)..=millis(4000)).contains(&pause), "{pause:?}");
        pauses.push(pause);
        moments.push(at);
    }
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > CLIENTS / 2, "{pauses:?}");
    moments.sort_unstable();
    assert!(moments[0] < window / 2 && moments[CLIENTS - 1] > window / 2, "{moments:?}");
    node.until("tailwater_connections_closed_total{reason=\"drain\"}", CLIENTS as f64).await;

    // The sibling delivers the event that was published meanwhile.
    node.log.publish("t", "b").await;
    let mut elsewhere = node.sibling().await.resume("topic=t", last.to_string()).await;
    assert_eq!(elsewhere.ready().await, "exact");
    assert_eq!(elsewhere.data(1).await, ["b"]);
}

#[tokio::test]
async fn a_client_that_connects_during_a_drain_is_told_to_reconnect() {
    let node = Node::start().await;
    let mut first = node.subscribe("topic=t").await;
    first.ready().await;
    let waiting = {
        let address = node.address;
        tokio::spawn(async move {
            let line = "GET /v1/events?topic=t&wait=60";
            crate::client::Response::of(address, line, &ACCEPT_JSON).await
        })
    };
    node.until("tailwater_connections", 2.0).await;
    let gateway = node.gateway.clone();
    let drained =
        tokio::spawn(
            async move { gateway.drain(Duration::ZERO, millis(60_000), Duration::ZERO).await },
        );
    node.until("tailwater_draining", 1.0).await;
    // The waiting long poll is answered at once, with a cursor for the next gateway.
    let answer = waiting.await.unwrap().json().await;
    assert_eq!(answer["events"].as_array().unwrap().len(), 0);

    let mut late = node.resume("topic=t", "5-1").await;
    assert_eq!((late.status, late.header("connection")), (200, Some("close")));
    let (event, json) = late.control("reconnect").await;
    assert_eq!((&json["reason"], &*event.id), (&"drain".into(), "5-1"));
    late.ends().await;
    let mut late = node.poll("topic=t").await;
    assert_eq!((late.status, late.header("retry-after")), (503, Some("2")));
    assert_eq!(late.json().await["error"]["code"], "draining");
    drained.abort();
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_outlive_the_window_of_a_drain() {
    let node = Node::start().await;
    let stuck = crate::slow::stalled(&node).await;
    let start = Instant::now();
    assert_eq!(node.gateway.drain(Duration::ZERO, millis(500), millis(10_000)).await, 0);
    assert!(start.elapsed() < millis(5000), "{:?}", start.elapsed());
    node.until("tailwater_connections_closed_total{reason=\"drain\"}", 1.0).await;
    drop(stuck);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_client_that_has_left() {
    let node = Node::with(Config { heartbeat: Duration::from_secs(60), ..Config::default() }).await;
    let mut stream = node.subscribe("topic=t").await;
    stream.ready().await;
    let gateway = node.gateway.clone();
    let hour = Duration::from_hours(1);
    let draining =
        tokio::spawn(async move { gateway.drain(Duration::ZERO, hour, Duration::ZERO).await });
    node.gateway.handing_away().await;
    sleep(millis(50)).await;
    drop(stream);
    node.until("tailwater_connections", 0.0).await;
    assert_eq!(draining.await.unwrap(), 0);
}
