//! Reading page by page.

use super::Lab;
use super::stage::{ALL, Stage, event, numbers, topic};
use crate::{Event, EventType, Limit, Mark, NewEvent, Position, Step, TraceParent};

pub(super) async fn a_slow_reader_pages_through_its_backlog_in_order(lab: &dyn Lab) {
    const N: u64 = 5_000;
    let stage = Stage::new(lab);
    let topic = topic("backlog");
    let (mut connected, _) = stage.resumed(&stage.log, &topic, Position::START).await;
    stage.fill(&topic, N).await;
    let (mut resumed, _) = stage.resumed(&lab.second().await, &topic, Position::START).await;
    let limit = Limit { events: 17, bytes: usize::MAX };
    for reader in [&mut connected, &mut resumed] {
        let mut seen = 0;
        while seen < N {
            let Step::Events { events, .. } = stage.step(reader, limit).await else {
                panic!("nothing is gone")
            };
            assert!(events.len() <= limit.events, "{} events", events.len());
            seen += events.len() as u64;
        }
    }
}

pub(super) async fn a_page_holds_no_more_bytes_than_asked_except_for_one_event(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("bytes");
    for size in [1, 2000, 10, 1, 9000, 9000, 3, 500, 500, 500, 500, 500, 500] {
        stage.publish(&topic, event(&"x".repeat(size))).await;
    }
    let weight = |events: &[Event]| events.iter().map(Event::weight).sum::<usize>();
    for bytes in [0, 1, 1000, 5000, 40_000, usize::MAX] {
        let limit = Limit { events: 100, bytes };
        for log in [lab.log(), lab.second().await] {
            let page = log.read(&topic, Position::START, limit).await.expect("the log answers");
            let fits = page.events.len() == 1 || weight(&page.events) <= bytes;
            assert!(fits && !page.events.is_empty(), "{bytes}: {:?}", page.events);
            let (mut reader, _) = stage.resumed(&log, &topic, Position::START).await;
            while reader.ledgers()[0].n() < 13 {
                let step = stage.step(&mut reader, limit).await;
                let Step::Events { events, .. } = step else { panic!("{step:?}") };
                assert!(events.len() == 1 || weight(&events) <= bytes, "{bytes}: {events:?}");
            }
        }
    }
}

/// A limit of 0 counts as one event, or its reader would wait for ever.
pub(super) async fn a_limit_of_nothing_still_moves(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("nothing");
    stage.fill(&topic, 3).await;
    let nothing = Limit { events: 0, bytes: 0 };
    for log in [lab.log(), lab.second().await] {
        let page = log.read(&topic, Position::START, nothing).await.expect("the log answers");
        assert_eq!(numbers(&page.events), [1]);
        let (mut reader, _) = stage.resumed(&log, &topic, Position::START).await;
        stage.read_to(&mut reader, 3, nothing).await;
    }
}

pub(super) async fn every_text_comes_back_byte_for_byte(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("texts");
    let long = "\u{e9}\n".repeat(256 * 1024 / 3);
    let control: String = (0..0x20).map(char::from).collect();
    let texts = [
        "",
        " ",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "a\nb\r\nc\rd",
        ":",
        "data: x\n\n",
        "\u{feff}x",
        "\0",
        "\u{2028}\u{2029}\u{85}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "{\"a\":[1]}",
        "-1",
        &control,
        &long,
        "\u{10ffff}",
    ];
    let kinds = [None, Some("a"), Some("\u{1f600}"), Some("message"), Some("0"), Some("a:b=c\"\\")];
    let traces = [None, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let mut n = 0;
    for (i, text) in texts.iter().enumerate() {
        let kind = kinds[i % kinds.len()].map(|kind| EventType::new(kind).expect("a type"));
        let trace = traces[i % 2].map(|trace| TraceParent::parse(trace).expect("a trace"));
        let event = NewEvent { kind, data: (*text).into(), mark: Mark::Open, trace, extra: None };
        n = stage.publish(&topic, event).await.n;
    }
    let longest = EventType::new(&"k".repeat(EventType::MAX_BYTES)).expect("a type");
    let last = NewEvent { kind: Some(longest), mark: Mark::Last, ..event("last") };
    n = n.max(stage.publish(&topic, last).await.n);
    // The ledgers compare every field with what was sent.
    for log in [lab.log(), lab.second().await] {
        let (mut reader, _) = stage.resumed(&log, &topic, Position::START).await;
        stage.read_to(&mut reader, n, ALL).await;
    }
}
