//! Copies of bodies of JSON lines.

use std::time::Duration;

use super::*;
use crate::http::stage::{Server, Stage, answer};

const TYPE: &str = "application/x-ndjson";
const FAULTS: usize = 20;

fn line(n: usize) -> String {
    format!("{{\"meta\":{{\"id\":{n}}},\"text\":\"é {n}\"}}")
}

fn lines(from: usize, to: usize) -> String {
    (from..=to).map(|n| line(n) + "\n").collect()
}

#[tokio::test]
async fn a_body_that_is_cut_in_its_lines_is_copied_once() {
    for resume in ["{ query = 'after' }", "{ header = 'X-After' }"] {
        let server = Server::start(|n, request| {
            let in_query = request.path().split_once("after=").map(|(_, id)| id);
            let id = in_query.or(request.header("x-after"));
            let next = id.map_or(1, |id| id.parse::<usize>().unwrap() + 1);
            if n < FAULTS {
                let text = lines(next, next + 3);
                let end = text.floor_char_boundary(text.len() - 1 - n);
                return (answer(TYPE, &text[..end]), false);
            }
            (answer(TYPE, &lines(next, 60)), true)
        })
        .await;
        let stage = Stage::new();
        let url = server.url("/x?a=b");
        let table = format!("json-lines = {{ url = '{url}', id = '/meta/id', resume = {resume} }}");
        let mut relay = stage.relay(&table);
        stage.entries("t", 20).await;
        relay = {
            drop(relay);
            stage.relay(&table)
        };
        let wanted: Vec<_> = (1..=60).map(line).collect();
        assert_eq!(stage.entries("t", 60).await, wanted);
        assert!(server.requests().len() > FAULTS);
        assert_eq!(stage.stats.snapshot("s", "", "").gaps, 0);
        assert!(server.requests().iter().all(|request| request.path().starts_with("/x?a=b")));
        drop(relay);
    }
}

#[tokio::test]
async fn a_body_without_ids_has_a_gap_at_each_break() {
    let server = Server::start(|n, _| {
        (answer("application/json; charset=utf-8", &format!("\u{feff}{n}\r\n\n\"{n}\"\n")), n == 2)
    })
    .await;
    let stage = Stage::new();
    let _relay = stage.relay(&format!("json-lines = {{ url = '{}' }}", server.url("/")));
    let gap = "Broken(Missing)";
    let wanted = ["0", "\"0\"", gap, "1", "\"1\"", gap, "2", "\"2\""];
    assert_eq!(stage.entries("t", 8).await, wanted);
}

#[tokio::test]
async fn a_last_line_without_a_line_break_counts_if_it_is_closed() {
    for (last, wanted) in [("{\"a\":2}", 2), ("{\"a\":2", 1), ("12", 1)] {
        let body = format!("{{\"a\":1}}\n{last}");
        let server = Server::start(move |_, _| (answer(TYPE, &body), false)).await;
        let stage = Stage::new();
        let _relay = stage.relay(&format!("json-lines = {{ url = '{}' }}", server.url("/")));
        // The next connection has told the gap behind everything that the first one brought.
        stage.entries("t", wanted + 1).await;
        assert_eq!(stage.now("t").await[wanted], "Broken(Missing)", "{last}");
    }
}

#[tokio::test]
async fn what_cannot_be_an_event_is_laid_aside() {
    let big = format!("[{}]", "1,".repeat(40_000));
    let body = format!("1\n{{\"a\":\n{big}\n2\n");
    let server = Server::start(move |_, _| (answer(TYPE, &body), true)).await;
    let stage = Stage::new();
    let rules = "on-error = 'dead-letter'\ndead-letter = 'bad'\nevent-bytes-max = 50";
    let _relay = stage.relay(&format!("{rules}\njson-lines = {{ url = '{}' }}", server.url("/")));
    assert_eq!(stage.entries("t", 2).await, ["1", "2"]);
    let bad = stage.now("bad").await;
    assert!(bad[0].contains("a line is not JSON: EOF while parsing a value"), "{}", bad[0]);
    assert!(bad[1].contains("an event has 80002 bytes; event-bytes-max is 50"), "{}", bad[1]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.now("bad").await.len(), 2);
}

#[test]
fn media_types_of_lines_are_known() {
    for kind in [
        "application/x-ndjson",
        "application/jsonl",
        "text/ldjson",
        "application/vnd.x+json-lines",
        "application/stream+json",
        "application/json",
    ] {
        assert!(are_lines(kind), "{kind}");
    }
    for kind in ["text/html", "text/event-stream", "application/json-seq", "image/ndjson", ""] {
        assert!(!are_lines(kind), "{kind}");
    }
}
