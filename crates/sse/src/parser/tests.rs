use std::time::Duration;

use super::{Event, Parser};

fn parse(bytes: &[u8]) -> (Vec<Event>, Parser) {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    parser.feed(bytes, &mut |event| events.push(event));
    (events, parser)
}

/// `type|id|data` of each event, for short assertions.
fn summary(bytes: &[u8]) -> Vec<String> {
    let line = |event: &Event| format!("{}|{}|{}", event.event_type(), event.id, event.data);
    parse(bytes).0.iter().map(line).collect()
}

#[test]
fn fields_become_an_event_at_the_blank_line() {
    let wire = b"event: greeting\ndata: hello\nid: 7\n\n";
    assert_eq!(summary(wire), ["greeting|7|hello"]);
}

#[test]
fn every_line_end_is_understood() {
    for end in ["\n", "\r", "\r\n"] {
        let wire = format!("data: a{end}data: b{end}id: 1{end}{end}data: c{end}{end}");
        assert_eq!(summary(wire.as_bytes()), ["message|1|a\nb", "message|1|c"]);
    }
}

#[test]
fn one_leading_bom_is_stripped_and_no_second_one() {
    assert_eq!(summary(b"\xef\xbb\xbfdata: a\n\n"), ["message||a"]);
    assert!(summary(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n").is_empty());
    assert!(summary(b"\n\xef\xbb\xbfdata: a\n\n").is_empty());
}

#[test]
fn any_cut_gives_the_same_events() {
    let wire = "\u{feff}: hi\r\nevent: x\rdata: å\ndata\ndata:  b\r\nid: 9\nretry: 20\r\n\r\n:\n\rdata: c\n\n";
    let whole = summary(wire.as_bytes());
    assert_eq!(whole, ["x|9|å\n\n b", "message|9|c"]);
    for cut in 0..wire.len() {
        for second in cut..wire.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in [0..cut, cut..second, second..wire.len()] {
                parser.feed(&wire.as_bytes()[piece], &mut |e| events.push(e));
            }
            let line = |e: &Event| format!("{}|{}|{}", e.event_type(), e.id, e.data);
            assert_eq!(events.iter().map(line).collect::<Vec<_>>(), whole, "{cut} {second}");
        }
    }
}

#[test]
fn comments_are_counted_and_dispatch_nothing() {
    let (events, parser) = parse(b":\n:\n\n: heartbeat\n");
    assert!(events.is_empty());
    assert_eq!(parser.comments(), 3);
}

#[test]
fn retry_takes_digits_only() {
    assert_eq!(parse(b"retry: 1500\n").1.retry(), Some(Duration::from_millis(1500)));
    for bad in ["retry: 1s\n", "retry: -1\n", "retry:\n", "retry: 99999999999999999999999\n"] {
        assert_eq!(parse(bad.as_bytes()).1.retry(), None, "{bad:?}");
    }
}

#[test]
fn id_with_nul_is_ignored_and_an_empty_id_resets() {
    assert_eq!(summary(b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n")[1], "message|1|b");
    assert_eq!(summary(b"id: 1\ndata: a\n\nid\ndata: b\n\n")[1], "message||b");
}

#[test]
fn id_without_data_advances_the_cursor_silently() {
    let (events, parser) = parse(b"id: 5\n\n");
    assert!(events.is_empty());
    assert_eq!(parser.last_event_id(), "5");
}

#[test]
fn empty_data_is_still_an_event() {
    assert_eq!(summary(b"data:\n\n"), ["message||"]);
    assert_eq!(summary(b"data\n\n"), ["message||"]);
    assert_eq!(summary(b"data\ndata\n\n"), ["message||\n"]);
}

#[test]
fn event_without_data_is_dropped_with_its_type() {
    assert_eq!(summary(b"event: x\n\ndata: a\n\n"), ["message||a"]);
}

#[test]
fn only_one_space_after_the_colon_is_dropped() {
    assert_eq!(summary(b"data:a\ndata: b\ndata:  c\n\n"), ["message||a\nb\n c"]);
}

#[test]
fn unfinished_event_is_never_dispatched() {
    assert!(summary(b"data: a\nid: 3\n").is_empty());
}

#[test]
fn the_end_tells_of_the_event_that_it_cuts_off() {
    let cut = |wire: &str| parse(wire.as_bytes()).1.finish();
    for (wire, expected) in [
        ("data: a\n\ndata: b\nid: 3\n", Some("b")),
        ("data: a", Some("a")),
        ("data: a\ndata: b\r", Some("a\nb")),
        ("data: a\n\nid: 3\n", Some("")),
        ("event: x\ndat", Some("dat")),
        ("event: x\ndata", Some("")),
        ("{\"error\":{}}", Some("{\"error\":{}}")),
        ("event: x\n\nretry: 10\n: comment", None),
        ("id: 5\n\nretry: 10", None),
        ("data: a\n\n", None),
        ("\u{feff}", None),
        ("", None),
    ] {
        assert_eq!(cut(wire).as_deref(), expected, "{wire:?}");
    }
}

#[test]
fn a_control_event_in_a_comment_is_an_event_if_it_is_asked_for() {
    let wire = b"data: a\nid: 1\n\n:\n: tailwater.gap {\"missed\":2}\n:tailwater.x\n: other {}\n";
    let mut parser = Parser::with_control_comments();
    let mut events = Vec::new();
    parser.feed(wire, &mut |event| events.push(event));
    let line = |event: &Event| format!("{}|{}|{}", event.event_type(), event.id, event.data);
    assert_eq!(
        events.iter().map(line).collect::<Vec<_>>(),
        ["message|1|a", "tailwater.gap|1|{\"missed\":2}", "tailwater.x|1|"]
    );
    assert_eq!(parser.comments(), 4);
    assert_eq!(summary(wire), ["message|1|a"]);
}

#[test]
fn own_id_tells_an_inherited_id_apart() {
    let (events, _) = parse(b"id: 1\ndata: a\n\ndata: b\n\n");
    assert_eq!(events.iter().map(|e| e.own_id).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn an_id_whose_event_was_cut_off_is_not_resumed_from() {
    let wire = b"data: a\nid: 1\n\ndata: b\nid: 2\n\n";
    for cut in 15..wire.len() {
        let (events, parser) = parse(&wire[..cut]);
        assert_eq!((events.len(), parser.last_event_id()), (1, "1"), "cut at {cut}");
    }
    assert_eq!(parse(wire).1.last_event_id(), "2");
}

#[test]
fn a_bounded_parser_keeps_the_beginning_of_a_large_event() {
    let mut wire = format!("id: 1\nevent: big\ndata: {}\n", "é".repeat(10_000));
    wire.push_str(&"data: more\n".repeat(100));
    wire.push_str("id: 2\n\ndata: 12345\ndata: 6789\n\ndata: 12345\ndata: 67890\n\n");
    for size in [1, 7, wire.len()] {
        let mut parser = Parser::default().bounded(10);
        let mut events = Vec::new();
        let mut most = 0;
        for piece in wire.as_bytes().chunks(size) {
            parser.feed(piece, &mut |event| events.push(event));
            most = most.max(parser.partial.len() + parser.data.len());
        }
        let seen = |event: &Event| (event.id.clone(), event.data.clone(), event.cut);
        let seen: Vec<_> = events.iter().map(seen).collect();
        assert_eq!(seen[0], ("2".to_owned(), "ééééé".to_owned(), Some(20_500)));
        assert_eq!(seen[1], ("2".to_owned(), "12345\n6789".to_owned(), None));
        assert_eq!(seen[2], ("2".to_owned(), "12345\n6789".to_owned(), Some(11)));
        assert!(most < 10_000, "{most}");
    }
}
