//! Timers: heartbeats, the age of connections, drains and probes. The clock is paused and jumps to the
//! next timer. A socket is not driven by that clock, so these tests call the door without one.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Registry;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use event_log::{Log, MemoryLog, Retention};
use gateway::{Config, Gateway, NotReady};
use http_body_util::BodyExt as _;
use limits::Peer;
use tokio::time::{Instant, advance, sleep, timeout};

use crate::log::{Mood, Publish as _, Remote};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn memory() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(Retention::default()))
}

fn gateway(config: Config, log: Arc<dyn Log>) -> Gateway {
    Gateway::new(config, log, &Registry::new())
}

/// Opens a stream and reads its beginning.
async fn open(gateway: &Gateway, query: &str) -> Body {
    open_from(gateway, query, Peer::new(([127, 0, 0, 1], 1).into())).await
}

async fn open_from(gateway: &Gateway, query: &str, peer: Peer) -> Body {
    let request = Request::get(format!("/v1/events?{query}")).body(Body::empty()).unwrap();
    let mut body = gateway.door(Router::new()).answer(request, peer).await.into_body();
    let first = next(&mut body).await.unwrap();
    assert!(first.starts_with(b":\nevent: tailwater.ready\n"), "{first:?}");
    body
}

async fn next(body: &mut Body) -> Option<Bytes> {
    Some(body.frame().await?.unwrap().into_data().unwrap())
}

/// Returns the next bytes as text, and the time until they came.
async fn timed(body: &mut Body) -> (String, Duration) {
    let start = Instant::now();
    let bytes = next(body).await.unwrap();
    (String::from_utf8(bytes.into()).unwrap(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_sends_only_heartbeats() {
    let gateway = gateway(Config::default(), memory());
    for (query, most) in [("topic=t", 15), ("topic=t&heartbeat=3", 3), ("topic=t&heartbeat=60", 60)]
    {
        let mut body = open(&gateway, query).await;
        for _ in 0..5 {
            let (text, silence) = timed(&mut body).await;
            assert_eq!(text, ":\n");
            let range = seconds(most).mul_f64(0.8)..=seconds(most) + Duration::from_millis(2);
            assert!(range.contains(&silence), "{query}: {silence:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_postpones_the_heartbeat() {
    let log = memory();
    let gateway = gateway(Config::default(), log.clone());
    let mut body = open(&gateway, "topic=t&heartbeat=10").await;
    sleep(seconds(6)).await;
    log.publish("t", "x").await;
    assert!(timed(&mut body).await.0.starts_with("data: x\n"));
    let (text, silence) = timed(&mut body).await;
    assert!(text == ":\n" && silence >= seconds(8), "{text} after {silence:?}");
}

#[tokio::test(start_paused = true)]
async fn events_that_are_filtered_out_move_the_clients_cursor_with_the_next_heartbeat() {
    let log = memory();
    let gateway = gateway(Config::default(), log.clone());
    for query in ["topic=t&types=a&heartbeat=3", "topic=t&topic=u&types=a&heartbeat=3"] {
        let mut body = open(&gateway, query).await;
        let last = log.publish_as("t", "b", "not wanted").await;
        let (text, _) = timed(&mut body).await;
        let cursor = text.rsplit_once("\nid: ").unwrap().1.trim_end().to_owned();
        let expected =
            format!("event: tailwater.cursor\ndata: {{\"cursor\":\"{cursor}\"}}\nid: {cursor}\n\n");
        assert_eq!(text, expected);
        assert!(query.contains("topic=u") || cursor == last.to_string());
        assert_eq!(timed(&mut body).await.0, ":\n", "once is enough");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cursor_also_moves_past_what_was_filtered_out_behind_an_event() {
    let log = memory();
    let gateway = gateway(Config::default(), log.clone());
    let mut body = open(&gateway, "topic=t&types=a&heartbeat=3").await;
    // One read returns both events, so the id of the first event is behind the cursor.
    log.publish_as("t", "a", "wanted").await;
    let last = log.publish_as("t", "b", "not wanted").await;
    assert!(timed(&mut body).await.0.contains("data: wanted\n"));
    let (text, _) = timed(&mut body).await;
    assert!(text.starts_with("event: tailwater.cursor\n"), "{text}");
    assert!(text.ends_with(&format!("\nid: {last}\n\n")), "{text}");
}

#[tokio::test(start_paused = true)]
async fn events_that_are_filtered_out_do_not_postpone_the_heartbeat() {
    let log = memory();
    let gateway = gateway(Config::default(), log.clone());
    let mut body = open(&gateway, "topic=t&types=a&heartbeat=3").await;
    let busy = async {
        loop {
            log.publish_as("t", "b", "not wanted").await;
            sleep(Duration::from_millis(10)).await;
        }
    };
    let reader = async {
        for _ in 0..10 {
            let (text, silence) = timed(&mut body).await;
            assert!(text.starts_with("event: tailwater.cursor\n"), "{text}");
            assert!(silence <= seconds(3) + Duration::from_millis(20), "{silence:?}");
        }
    };
    tokio::select! {
        () = busy => unreachable!(),
        () = reader => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_within_a_fifth_of_its_maximum_age() {
    let log = memory();
    let last = log.publish("t", "x").await;
    let gateway = gateway(Config { max_age: seconds(100), ..Config::default() }, log.clone());
    let mut ages = Vec::new();
    for _ in 0..20 {
        let mut body = open(&gateway, "topic=t&heartbeat=60").await;
        let start = Instant::now();
        let farewell = loop {
            match timed(&mut body).await.0 {
                beat if beat == ":\n" => {}
                farewell => break farewell,
            }
        };
        assert!(
            farewell.starts_with("event: tailwater.reconnect\ndata: {\"reason\":\"max_age\"}\n")
        );
        assert!(farewell.ends_with(&format!("\nid: {last}\n\n")), "{farewell}");
        assert_eq!(next(&mut body).await, None);
        ages.push(start.elapsed().as_secs());
    }
    assert!(ages.iter().all(|age| (80..=120).contains(age)), "{ages:?}");
    ages.sort_unstable();
    ages.dedup();
    assert!(ages.len() > 5, "{ages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_always_has_events_is_closed_at_its_maximum_age_too() {
    let log = memory();
    let gateway = gateway(Config { max_age: seconds(10), ..Config::default() }, log.clone());
    let mut body = open(&gateway, "topic=t").await;
    let read = async {
        let mut last = String::new();
        loop {
            log.publish("t", "x").await;
            match next(&mut body).await {
                Some(bytes) => last = String::from_utf8(bytes.into()).unwrap(),
                None => return last,
            }
            advance(Duration::from_millis(10)).await;
        }
    };
    let last = timeout(seconds(13), read).await.unwrap();
    assert!(last.starts_with("event: tailwater.reconnect\n"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_its_window_and_no_longer() {
    let log = memory();
    let gateway = gateway(Config::default(), log.clone());
    let mut bodies = Vec::new();
    for _ in 0..50 {
        bodies.push(open(&gateway, "topic=t&heartbeat=60").await);
    }
    let start = Instant::now();
    let readers = bodies.into_iter().map(|mut body| {
        tokio::spawn(async move {
            while let Some(bytes) = next(&mut body).await {
                if bytes.starts_with(b"event: tailwater.reconnect") {
                    return start.elapsed();
                }
            }
            panic!("closed without a word");
        })
    });
    let readers: Vec<_> = readers.collect();
    assert_eq!(gateway.drain(seconds(5), seconds(30), seconds(10)).await, 0);
    assert!(start.elapsed() <= seconds(36), "{:?}", start.elapsed());
    for reader in readers {
        let at = reader.await.unwrap();
        assert!((seconds(5)..=seconds(36)).contains(&at), "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_the_path_of_an_event_and_liveness_does_not() {
    let remote = Remote::new();
    let gateway = gateway(Config::default(), remote.clone());
    assert_eq!(gateway.ready(), Err(NotReady::Starting));
    let probing = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.run_probe().await }
    });
    sleep(seconds(3)).await;
    assert_eq!(gateway.ready(), Ok(()));
    remote.goes_away(Mood::Hangs);
    sleep(seconds(10)).await;
    assert_eq!(gateway.ready(), Ok(()), "a restart of the log is no reason to send clients away");
    sleep(seconds(20)).await;
    assert!(matches!(gateway.ready(), Err(NotReady::Stale(_))), "{:?}", gateway.ready());
    remote.comes_back().await;
    sleep(seconds(10)).await;
    assert_eq!(gateway.ready(), Ok(()));
    probing.abort();
}

/// Reads all of a topic and returns the time that it took.
async fn replay(gateway: &Gateway, peer: Peer, events: usize) -> Duration {
    let start = Instant::now();
    let mut body = open_from(gateway, "topic=t&from=earliest&heartbeat=3", peer).await;
    let mut parser = sse::Parser::default();
    let mut next_number = 0;
    while next_number < events {
        parser.feed(&next(&mut body).await.unwrap(), &mut |event| {
            if !event.is_control() {
                assert_eq!(event.data.trim().parse(), Ok(next_number));
                next_number += 1;
            }
        });
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_slowed_to_its_rate_and_others_are_not() {
    const EVENTS: usize = 100;
    const BYTES: usize = 32 * 1024;
    const REPLAYS: u32 = 12;
    let log = memory();
    for number in 0..EVENTS {
        log.publish("t", &format!("{number:BYTES$}")).await;
    }
    let config = Config { replay_rate: 1 << 20, ..Config::default() };
    let registry = Registry::new();
    let gateway = Gateway::new(config, log.clone(), &registry);
    let peer = |last| Peer::new(([203, 0, 113, last], 1).into());
    let greedy = peer(1);
    let mut time = Duration::ZERO;
    for _ in 0..REPLAYS {
        time += replay(&gateway, greedy, EVENTS).await;
    }
    // A connection gets a quarter of the rate, after a burst of 16 MiB. The last replay is not waited for.
    let bytes = (REPLAYS - 1) as usize * EVENTS * BYTES;
    let least = (bytes - (16 << 20)) / (1 << 18);
    assert!((least as u64..least as u64 + 20).contains(&time.as_secs()), "{least} {time:?}");
    assert!(replay(&gateway, peer(2), EVENTS).await < seconds(1));
    assert!(!registry.expose().contains("tailwater_replay_waits_total 0\n"));
    let mut live = open_from(&gateway, "topic=t", greedy).await;
    log.publish("t", "x").await;
    let (text, wait) = timed(&mut live).await;
    assert!(text.starts_with("data: x\n") && wait < seconds(1), "{text} after {wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_in_debt_waits_and_then_says_where_it_stands() {
    const BYTES: usize = 200 * 1024;
    let log = memory();
    for _ in 0..5 {
        log.publish("t", &"x".repeat(BYTES)).await;
    }
    let gateway = gateway(Config { replay_rate: 1 << 10, ..Config::default() }, log);
    let peer = Peer::new(([203, 0, 113, 1], 1).into());
    let poll = async || {
        let start = Instant::now();
        let request = Request::get("/v1/events?topic=t&from=earliest")
            .header("accept", "application/json")
            .body(Body::empty());
        let answer = gateway.door(Router::new()).answer(request.unwrap(), peer).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(json["cursor"].is_string(), "{json}");
        (json["events"].as_array().unwrap().len(), start.elapsed())
    };
    let mut polls = 0;
    let (events, time) = loop {
        polls += 1;
        match poll().await {
            (0, time) => break (0, time),
            (_, time) => assert!(time < seconds(6) && polls < 100, "{polls} {time:?}"),
        }
    };
    assert_eq!((events, time.as_secs()), (0, 5));
    // A burst of 16 MiB.
    assert!(polls > 16, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_full_log_leaves_a_gateway_ready_and_stores_no_probe() {
    let remote = Remote::new();
    let gateway = gateway(Config::default(), remote.clone());
    remote.goes_away(Mood::Full);
    let probing = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.run_probe().await }
    });
    for _ in 0..20 {
        sleep(seconds(3)).await;
        assert_eq!(gateway.ready(), Ok(()));
    }
    probing.abort();
}
