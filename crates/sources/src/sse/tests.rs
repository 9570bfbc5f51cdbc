//! Copies of event streams of raw servers that break off, repeat and forget.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::copier::End;
use crate::http::stage::{Answer, Request, Server, Stage, answer, numbers, status};

/// Connections that break off in each test.
const FAULTS: usize = 20;

fn table(server: &Server) -> String {
    format!("sse = {{ url = '{}' }}", server.url("/events"))
}

fn last_id(request: &Request) -> Option<usize> {
    request.header("last-event-id")?.parse().ok()
}

/// A piece of a stream, cut off in the middle of its last event.
fn cut(stream: &str, by: usize) -> Answer {
    (answer(TYPE, &stream[..stream.len() - by]), false)
}

fn one(n: usize) -> String {
    format!("id: {n}\ndata: {n}\n\n")
}

fn several(from: usize, to: usize) -> String {
    (from..=to).map(one).collect()
}

/// Copies from a server, with relays that are killed too, and checks that each event was copied once.
async fn copy_all(server: &Server, table: &str, wanted: &[String]) -> Stage {
    let stage = Stage::new();
    let mut relay = stage.relay(table);
    for count in [wanted.len() / 3, wanted.len() * 2 / 3] {
        stage.entries("t", count).await;
        relay = stage.relay(table);
    }
    assert_eq!(stage.entries("t", wanted.len()).await, wanted);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.now("t").await, wanted);
    assert!(server.requests().len() > FAULTS, "{}", server.requests().len());
    drop(relay);
    stage
}

#[tokio::test]
async fn a_stream_that_is_cut_in_its_events_is_copied_once() {
    // With every length of the cut: within the data, the id, and between the line breaks.
    let server = Server::start(|n, request| {
        let next = last_id(request).map_or(1, |id| id + 1);
        if n < FAULTS {
            return cut(&several(next, next + 3), n % 16 + 1);
        }
        (answer(TYPE, &several(next, 100)), true)
    })
    .await;
    let stage = copy_all(&server, &table(&server), &numbers(1, 100)).await;
    assert_eq!(stage.stats.snapshot("s", "", "").gaps, 0);
}

#[tokio::test]
async fn events_that_a_server_repeats_are_copied_once() {
    // From five events before the one that it was asked for, or from its very beginning.
    for back in [5, 1000] {
        let server = Server::start(move |n, request| {
            let next = last_id(request).map_or(1, |id| id + 1).saturating_sub(back).max(1);
            let most = n * 2 + 3;
            if n < FAULTS && most < 31 {
                return cut(&several(next, most), 1);
            }
            (answer(TYPE, &several(next, 33)), n > FAULTS)
        })
        .await;
        let stage = Stage::new();
        let _relay = stage.relay(&table(&server));
        assert_eq!(stage.entries("t", 33).await, numbers(1, 33));
        while server.requests().len() <= FAULTS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(stage.now("t").await, numbers(1, 33));
    }
}

/// Events of which every fifth has an id, and two follow each other with the same one.
fn sparse(from: usize, to: usize) -> String {
    let mut text = String::new();
    for n in from..=to {
        match n % 5 {
            0 | 1 => write!(text, "id: {}\ndata: {n}\n\n", n / 5 * 5),
            // Three events that look alike.
            _ => write!(text, "data: same\n\n"),
        }
        .unwrap();
    }
    text
}

#[tokio::test]
async fn events_without_ids_and_repeated_ids_are_copied_once() {
    let server = Server::start(|n, request| {
        // It sends what follows the first event with an id, or the second, in turns.
        let next = last_id(request).map_or(0, |id| id + 1 + n % 2);
        if n < FAULTS {
            return cut(&sparse(next, next + 9 + n % 4), 1 + n % 3);
        }
        (answer(TYPE, &sparse(next, 150)), true)
    })
    .await;
    let data = |n: usize| if n % 5 < 2 { n.to_string() } else { "same".to_owned() };
    let wanted: Vec<_> = (0..=150).map(data).collect();
    let stage = copy_all(&server, &table(&server), &wanted).await;
    assert_eq!(stage.stats.snapshot("s", "", "").gaps, 0);
}

#[tokio::test]
async fn two_events_of_one_id_are_both_copied_though_a_resume_skips_the_second() {
    let pair = |n: usize| format!("id: {n}\ndata: {n}a\n\nid: {n}\ndata: {n}b\n\n");
    let server = Server::start(move |n, request| {
        let next = last_id(request).map_or(1, |id| id + 1);
        let stream: String = (next..next + 3).map(pair).collect();
        if n < FAULTS {
            // Cut in the second event of a pair.
            return cut(&stream, 5);
        }
        let stream: String = (next..=50).map(pair).collect();
        (answer(TYPE, &stream), true)
    })
    .await;
    let wanted: Vec<_> = (1..=50).flat_map(|n| [format!("{n}a"), format!("{n}b")]).collect();
    copy_all(&server, &table(&server), &wanted).await;
}

/// A server whose streams go on where the last one was cut, whatever they are asked for.
async fn live(event: fn(usize) -> String) -> Server {
    let next = Arc::new(AtomicUsize::new(1));
    Server::start(move |n, _| {
        let from = next.fetch_add(3, Ordering::Relaxed);
        let stream: String = (from..from + 3).map(event).collect();
        (answer(TYPE, &stream), n >= FAULTS)
    })
    .await
}

#[tokio::test]
async fn a_server_that_sends_nothing_again_has_a_gap_at_each_break() {
    for event in [one, |n| format!("data: {n}\n\n")] {
        let server = live(event).await;
        let stage = Stage::new();
        let _relay = stage.relay(&table(&server));
        let entries = stage.entries("t", 4 * FAULTS + 3).await;
        let wanted: Vec<_> = (0..=FAULTS)
            .flat_map(|n| {
                let mut part = numbers(n * 3 + 1, n * 3 + 3);
                part.push("Broken(Missing)".to_owned());
                part
            })
            .take(4 * FAULTS + 3)
            .collect();
        assert_eq!(entries, wanted);
    }
}

#[tokio::test]
async fn relays_that_both_lead_lose_and_double_nothing() {
    // Each takes the lead from the other at every beat.
    let server = Server::start(|n, request| {
        let next = last_id(request).map_or(1, |id| id + 1);
        let to = if n < 2 * FAULTS { next + 5 } else { 400 };
        cut(&several(next, to), n % 10)
    })
    .await;
    let stage = Stage::new();
    let _relays = [(); 3].map(|()| stage.relay(&table(&server)));
    assert_eq!(stage.entries("t", 399).await[..399], numbers(1, 399));
}

#[tokio::test]
async fn what_cannot_be_an_event_is_laid_aside() {
    let big = "x".repeat(300);
    let stream = format!(
        "id: 1\ndata: 1\n\nevent: a,b\nid: 2\ndata: 2\n\nid: 3\ndata: {big}\ndata: {big}\n\n\
        event: tailwater.x\nid: 3b\ndata: y\n\nevent: tick\nid: 4\ndata: 4\n\nid: \x01\ndata: 5\n\nid: 6\ndata: 6\n\n"
    );
    let server = Server::start(move |n, _| (answer(TYPE, &stream), n > 3)).await;
    let stage = Stage::new();
    let rules = "on-error = 'dead-letter'\ndead-letter = 'bad'\nevent-bytes-max = 100";
    let _relay = stage.relay(&format!("{rules}\n{}", table(&server)));
    assert_eq!(stage.entries("t", 3).await, ["1", "tick: 4", "6"]);
    while server.requests().len() < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let bad = stage.now("bad").await;
    assert_eq!(bad.len(), 4);
    assert!(bad[0].contains("an event's type must not contain ','"), "{}", bad[0]);
    assert!(bad[1].contains("an event has 601 bytes; event-bytes-max is 100"), "{}", bad[1]);
    assert!(bad[1].contains(&"x".repeat(100)) && !bad[1].contains(&"x".repeat(101)));
    assert!(bad[2].contains("which is reserved"), "{}", bad[2]);
    assert!(bad[3].contains("an id has control characters"), "{}", bad[3]);
}

#[tokio::test]
async fn no_content_is_the_end_after_the_last_event_was_seen_again() {
    for (end, mark) in [("", None), (", end = true", Some("End".to_owned()))] {
        let server = Server::start(|_, request| match last_id(request) {
            Some(3) => (status("204 No Content", ""), false),
            id => (answer(TYPE, &several(id.map_or(1, |id| id + 1), 3)), false),
        })
        .await;
        let stage = Stage::new();
        let table = format!("sse = {{ url = '{}'{end} }}", server.url("/"));
        assert_eq!(stage.relay(&table).await.unwrap(), End::Ended);
        let wanted: Vec<_> = numbers(1, 3).into_iter().chain(mark).collect();
        assert_eq!(stage.now("t").await, wanted);
        assert_eq!(stage.relay(&table).await.unwrap(), End::Ended, "as after a restart");
        assert_eq!(stage.now("t").await, wanted);
    }
}

#[tokio::test]
async fn the_control_events_of_a_gateway_are_obeyed() {
    let ready = |cursor: &str, outcome: &str| {
        format!(
            "event: tailwater.ready\ndata: {{\"cursor\":\"{cursor}\",\"outcome\":\"{outcome}\"}}\n\
            retry: 100\nid: {cursor}\n\n"
        )
    };
    let control = |kind: &str, data: &str, id: &str| {
        format!("event: tailwater.{kind}\ndata: {data}\nid: {id}\n\n")
    };
    let streams = [
        // It breaks off before the first event.
        ready("5-0", "live"),
        ready("5-0", "exact") + "data: a\nid: 5-1\n\n",
        ready("5-1", "gap")
            + &control("gap", "{\"reason\":\"trimmed\",\"missed\":3}", "5-4")
            + "data: b\nid: 5-5\n\n"
            + &control("broken", "{\"reason\":\"timeout\"}", "5-6")
            + &control("heartbeat", "{}", "5-6")
            + &control("reconnect", "{\"reason\":\"drain\"}", "5-6"),
        ready("9-9", "live") + "data: c\nid: 9-10\n\n",
        ready("9-10", "exact") + "data: d\nid: 9-11\n\n" + &control("end", "{}", "9-11"),
    ];
    let server = Server::start(move |n, _| (answer(TYPE, &streams[n]), false)).await;
    let stage = Stage::new();
    assert_eq!(stage.relay(&table(&server)).await.unwrap(), End::Ended);
    let wanted = ["a", "Broken(Missing)", "b", "Broken(Timeout)", "Broken(Missing)", "c", "d"];
    assert_eq!(stage.now("t").await, wanted);
    assert_eq!(stage.stats.snapshot("s", "", "").missed, 3);
    let asked: Vec<_> =
        server.requests().iter().map(|r| r.header("last-event-id").map(str::to_owned)).collect();
    let ids = [None, Some("5-0"), Some("5-1"), Some("5-6"), Some("9-10")];
    assert_eq!(asked, ids.map(|id| id.map(str::to_owned)));
}

#[tokio::test]
async fn a_pause_of_the_stream_is_kept() {
    let server =
        Server::start(|n, _| (answer(TYPE, &format!("retry: 700\n{}", one(1))), n > 0)).await;
    let stage = Stage::new();
    let began = tokio::time::Instant::now();
    let _relay = stage.relay(&table(&server));
    while server.requests().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(700));
}
