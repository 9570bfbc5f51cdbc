use bytes::Bytes;
use proptest::prelude::*;

use super::{Event, Parser};

const MAX: usize = 20;

/// Returns `type|data` of each event, and the line of an event that was cut off.
fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Option<u64>) {
    let mut parser = Parser::new(MAX);
    let mut events = Vec::new();
    for piece in pieces {
        parser.push(Bytes::copy_from_slice(piece));
        events.extend(std::iter::from_fn(|| parser.take()).map(|event| summary(&event)));
    }
    (events, parser.finish())
}

fn summary(Event { kind, data, .. }: &Event) -> String {
    let kind = match kind {
        Ok(kind) => kind.as_ref().map_or("", |kind| kind.as_str()).to_owned(),
        Err(bad) => format!("({bad})"),
    };
    match data {
        Ok(data) => format!("{kind}|{data}"),
        Err(bytes) => format!("{kind}|({bytes} bytes)"),
    }
}

fn check(stream: impl AsRef<[u8]>, events: &[&str]) {
    assert_eq!(parse([stream.as_ref()]), (events.iter().map(ToString::to_string).collect(), None));
}

#[test]
fn the_examples_of_the_standard_give_the_events_that_it_names() {
    check("data: YHOO\ndata: +2\ndata: 10\n\n", &["|YHOO\n+2\n10"]);
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
        &["|first event", "|second event", "| third"],
    );
    check("data\n\ndata\ndata\n\n", &["|", "|\n"]);
    check("data:test\n\ndata: test\n\n", &["|test", "|test"]);
}

#[test]
fn a_type_holds_for_one_event_only() {
    check("event: add\ndata: 1\n\ndata: 2\n\n", &["add|1", "|2"]);
    check("event: add\nevent\ndata: 1\n\n", &["|1"]);
    check("event: add\n\ndata: 1\n\n", &["|1"]);
}

#[test]
fn a_byte_order_mark_is_skipped_only_at_the_start() {
    check("\u{feff}data: 1\n\n\u{feff}data: 2\n\n", &["|1"]);
}

#[test]
fn each_kind_of_line_end_ends_one_line() {
    check("data: 1\r\rdata: 2\r\n\r\ndata: 3\n\r\ndata: 4\n\n", &["|1", "|2", "|3", "|4"]);
}

#[test]
fn bytes_that_are_not_utf_8_become_replacement_characters() {
    check(b"data: a\xffb\n\n", &["|a\u{fffd}b"]);
}

#[test]
fn an_invalid_type_is_an_error_of_its_event() {
    check(
        "event: a b\ndata: 1\n\n",
        &[
            "(an event's type must not contain ' ' (no white space, control characters or commas))|1",
        ],
    );
    check(
        format!("event: {}\ndata: 1\n\n", "x".repeat(1000)),
        &["(an event's type has 1000 bytes; the limit is 128)|1"],
    );
}

#[test]
fn data_of_exactly_the_limit_is_kept_and_longer_data_is_only_counted() {
    let (max, over) = ("x".repeat(MAX), "x".repeat(MAX + 1));
    check(format!("data: {max}\n\ndata: {over}\n\n"), &[&format!("|{max}"), "|(21 bytes)"]);
    let half = "x".repeat(MAX / 2);
    check(format!("data: {half}\ndata: {half}\n\ndata: 1\n\n"), &["|(21 bytes)", "|1"]);
    check(format!("\u{feff}data: {max}\n\n"), &[&format!("|{max}")]);
    let huge = "x".repeat(10_000);
    check(format!(":{huge}\nid: {huge}\ndata: 1\n\n"), &["|1"]);
    check(format!("data: {huge}\ndata: 1\n\n"), &["|(10002 bytes)"]);
}

#[test]
fn an_event_that_the_end_cuts_off_is_reported_but_not_dispatched() {
    for cut in
        ["data: 1\n", "data: 1", "event: x\ndata: 1\r\nid: 7", "event: x\n", "id: 1\n", "eve", "{}"]
    {
        let stream = format!(": hi\n\n{cut}");
        assert_eq!(parse([stream.as_bytes()]), (vec![], Some(3)), "{cut:?}");
    }
    for nothing in [": comment", "event: x\n\n", "id: 1\n\n", "retry: 1\n", "", "\n"] {
        assert_eq!(parse([nothing.as_bytes()]), (vec![], None), "{nothing:?}");
    }
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"".to_vec()),
        Just(b"data".to_vec()),
        Just(BOM_LINE.to_vec()),
        ":.{0,5}".prop_map(String::into_bytes),
        "(data|event|id|retry|x):? ?[a-c\u{e9}]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n"), Just("\n\n")];
    prop::collection::vec((line, end), 0..12).prop_map(|lines| {
        let lines = lines.into_iter().map(|(line, end)| [&line[..], end.as_bytes()].concat());
        lines.collect::<Vec<_>>().concat()
    })
}

const BOM_LINE: &[u8] = b"\xef\xbb\xbfdata: x";

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(
        stream in streams(),
        size in 1_usize..9,
    ) {
        prop_assert_eq!(parse(stream.chunks(size)), parse([&stream[..]]));
    }

    #[test]
    fn events_are_those_that_our_own_client_parses(stream in streams()) {
        let mut client = ::sse::Parser::default();
        let mut data = Vec::new();
        client.feed(&stream, &mut |event| data.push(event.data));
        let mut parser = Parser::new(usize::MAX);
        parser.push(stream.into());
        let events = std::iter::from_fn(|| parser.take());
        prop_assert_eq!(events.map(|event| event.data.unwrap()).collect::<Vec<_>>(), data);
        prop_assert_eq!(parser.finish().is_some(), client.finish().is_some());
    }

    #[test]
    fn written_events_are_read_back(
        events in prop::collection::vec(("[a-z]{0,5}", "[a-z :]{0,8}(\n[a-z :]{0,8})?"), 0..8),
    ) {
        let mut stream = String::new();
        for (kind, data) in &events {
            if !kind.is_empty() {
                stream += &format!("event: {kind}\n");
            }
            for line in data.split('\n') {
                stream += &format!("data: {line}\n");
            }
            stream.push('\n');
        }
        let expected: Vec<_> = events.iter().map(|(kind, data)| format!("{kind}|{data}")).collect();
        prop_assert_eq!(parse([stream.as_bytes()]).0, expected);
    }
}
