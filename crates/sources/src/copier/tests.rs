//! Copies of a scripted source.

use event_log::{Limit, MemoryLog, Position, Retention};
use tokio::task::JoinHandle;

use super::*;
use crate::config::Config;
use crate::lead;
use crate::script::Script;

struct Stage {
    log: Arc<MemoryLog>,
    script: Script,
    stats: Stats,
    leaving: CancellationToken,
}

impl Stage {
    fn new() -> Self {
        let log = Arc::new(MemoryLog::new(Retention::default()));
        Self {
            log,
            script: Script::default(),
            stats: Stats::default(),
            leaving: CancellationToken::new(),
        }
    }

    /// Starts a relay that copies the script by these lines of configuration.
    fn relay(&self, node: &str, lines: &str) -> JoinHandle<End> {
        let text = format!("[source.s]\nscript = {{}}\n{lines}");
        let config = Config::parse(&text).unwrap();
        let copier = Copier {
            log: Arc::<MemoryLog>::clone(&self.log),
            name: Key::new("s").unwrap(),
            kind: "script",
            node: node.to_owned(),
            source: Box::new(self.script.clone()),
            copying: config.sources["s"].copying.clone(),
            stats: self.stats.clone(),
            leaving: self.leaving.clone(),
        };
        tokio::spawn(copier.run())
    }

    fn add(&self, topic: &str, from: u64, to: u64) {
        for n in from..=to {
            self.script.add(topic, &n.to_string());
        }
    }

    /// Waits until the topic has so many entries, and returns them: data, or the mark of one without.
    async fn entries(&self, topic: &str, count: usize) -> Vec<String> {
        for _ in 0..10_000 {
            let entries = self.now(topic).await;
            if entries.len() >= count {
                return entries;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{topic} has not {count} entries: {:?}", self.now(topic).await);
    }

    async fn now(&self, topic: &str) -> Vec<String> {
        let topic = Topic::new(topic).unwrap();
        let all = Limit { events: 1000, bytes: usize::MAX };
        let page = self.log.read(&topic, Position::START, all).await.unwrap();
        let text = |event: &event_log::Event| match event.mark() {
            Mark::Open => event.data().to_owned(),
            mark => format!("{mark:?}"),
        };
        page.events.iter().map(text).collect()
    }
}

fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_event_is_copied_once_though_the_source_breaks_off() {
    let stage = Stage::new();
    stage.add("t", 1, 20);
    stage.script.fail(Failure::Away("cut".to_owned()));
    let relay = stage.relay("a", "topic = 't'");
    assert_eq!(stage.entries("t", 20).await, numbers(1, 20));
    stage.script.fail(Failure::Away("cut".to_owned()));
    stage.add("t", 21, 30);
    assert_eq!(stage.entries("t", 30).await, numbers(1, 30));
    assert_eq!(stage.script.opened(), [0, 0, 20]);
    relay.abort();
    // It begins again where it was, whatever the source remembers.
    stage.add("t", 31, 32);
    let _relay = stage.relay("b", "topic = 't'");
    assert_eq!(stage.entries("t", 32).await, numbers(1, 32));
    assert_eq!(stage.script.opened(), [0, 0, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_second_relay_waits_and_takes_over() {
    let stage = Stage::new();
    let first = stage.relay("a", "topic = '{key}'");
    stage.add("t", 1, 10);
    stage.entries("t", 10).await;
    let _second = stage.relay("b", "topic = '{key}'");
    sleep(2 * lead::TAKEN_OVER).await;
    assert_eq!(stage.script.opened(), [0], "the second waits");
    first.abort();
    stage.add("t", 11, 15);
    stage.add("u", 1, 5);
    assert_eq!(stage.entries("u", 5).await, numbers(1, 5));
    assert_eq!(stage.now("t").await, numbers(1, 15));
    assert_eq!(stage.script.opened(), [0, 10], "it begins at the checkpoint");
}

#[tokio::test(start_paused = true)]
async fn relays_that_both_believe_to_lead_store_nothing_twice() {
    let stage = Stage::new();
    let first = stage.relay("a", "topic = '{key}'");
    stage.entries("t", 0).await;
    sleep(BEAT / 2).await;
    // The checkpoint is behind: the first relay dies before its next beat.
    for n in 0..10 {
        stage.add(&format!("t{}", n % 3), n, n);
    }
    stage.entries("t0", 4).await;
    first.abort();
    stage.add("t0", 10, 10);
    let _second = stage.relay("a", "topic = '{key}'");
    assert_eq!(stage.entries("t0", 5).await, ["0", "3", "6", "9", "10"]);
    assert_eq!(stage.now("t1").await, ["1", "4", "7"]);
    assert_eq!(stage.script.opened(), [0, 0]);
    let snapshot = stage.stats.snapshot("s", "script", "a");
    assert_eq!((snapshot.copied, snapshot.duplicates), (11, 10));
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_lost_is_copied_again() {
    let stage = Stage::new();
    let _relay = stage.relay("a", "topic = 't'");
    stage.add("t", 1, 5);
    stage.entries("t", 5).await;
    // As after a fail-over: the log is where it was after the second event.
    let rewind = |to: u64| {
        let topic = Topic::new("t").unwrap();
        let from = Place { era: 0, major: 5, minor: 0, text: "cursor 5".to_owned() }.bookmark();
        let to = Place { era: 0, major: to, minor: 0, text: format!("cursor {to}") }.bookmark();
        let advance = Some(Advance { source: Key::new("s").unwrap(), from: Some(from), to });
        let event = NewEvent { data: "rewound".into(), ..NewEvent::default() };
        Append { advance, ..Append::new(topic, event) }
    };
    stage.log.append(vec![rewind(2)]).await[0].as_ref().unwrap();
    stage.add("t", 6, 6);
    let entries = stage.entries("t", 10).await;
    assert_eq!(entries[5..], ["rewound", "3", "4", "5", "6"]);
    assert_eq!(stage.script.opened(), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_the_source_is_told_in_its_place() {
    let stage = Stage::new();
    stage.add("t", 1, 9);
    stage.script.lose_before(4);
    let _relay = stage.relay("a", "topic = 't'");
    let entries = stage.entries("t", 6).await;
    assert_eq!(entries[0], "Broken(Missing)");
    assert_eq!(entries[1..], numbers(5, 9));
    assert_eq!(stage.stats.snapshot("s", "script", "a").missed, 4);
}

#[tokio::test(start_paused = true)]
async fn a_gap_stops_the_source_if_the_operator_says_so() {
    let stage = Stage::new();
    stage.add("t", 1, 9);
    stage.script.lose_before(4);
    let relay = stage.relay("a", "topic = 't'\non-gap = 'stop'");
    assert_eq!(relay.await.unwrap(), End::Stopped);
    assert_eq!((stage.now("t").await.len(), stage.stats.state()), (0, State::Stopped));
    let error = stage.stats.snapshot("s", "script", "a").error.unwrap();
    assert_eq!(error, "events are missing: it was trimmed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_an_event_stops_the_source_or_is_skipped_or_laid_aside() {
    for (rule, end) in [
        ("", Some(End::Stopped)),
        ("on-error = 'skip'", None),
        ("on-error = 'dead-letter'\ndead-letter = 'bad'", None),
    ] {
        let stage = Stage::new();
        stage.add("t", 1, 2);
        stage.script.add("no topic", "x");
        stage.script.add("t", &"y".repeat(11));
        stage.add("t", 3, 4);
        let lines = format!("topic = '{{key}}'\nevent-bytes-max = 10\n{rule}");
        let relay = stage.relay("a", &lines);
        if end.is_some() {
            assert_eq!(relay.await.ok(), end);
            assert_eq!(stage.now("t").await, numbers(1, 2), "what comes before it is stored");
            continue;
        }
        assert_eq!(stage.entries("t", 4).await, numbers(1, 4));
        assert_eq!(stage.stats.snapshot("s", "script", "a").refused, 2);
        let laid_aside = stage.now("bad").await;
        if rule == "on-error = 'skip'" {
            assert!(laid_aside.is_empty());
        } else {
            assert_eq!(
                laid_aside[0],
                "{\"source\":\"s\",\"reason\":\"a topic's name must not contain ' '; \
                allowed are A-Z a-z 0-9 . _ ~ : / @ -\",\"place\":\"0.3.0\",\"excerpt\":\"x\"}"
            );
            assert!(laid_aside[1].contains("an event has 11 bytes; event-bytes-max is 10"));
        }
        relay.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_topic_is_an_error_of_the_record() {
    let stage = Stage::new();
    stage.add("t", 1, 1);
    let _relay = stage.relay("a", "topic = '{key}'\non-error = 'skip'");
    stage.entries("t", 1).await;
    let end = NewEvent { mark: Mark::End, ..NewEvent::default() };
    stage.log.append(vec![Append::new(Topic::new("t").unwrap(), end)]).await[0].as_ref().unwrap();
    stage.add("t", 2, 3);
    stage.add("u", 4, 4);
    assert_eq!(stage.entries("u", 1).await, ["4"]);
    assert_eq!(stage.now("t").await.len(), 2);
    assert_eq!(stage.stats.snapshot("s", "script", "a").refused, 2);
}

#[tokio::test(start_paused = true)]
async fn the_source_learns_how_far_its_events_are_stored() {
    let stage = Stage::new();
    let _relay = stage.relay("a", "topic = 't'");
    stage.add("t", 1, 7);
    stage.entries("t", 7).await;
    sleep(BEAT).await;
    assert_eq!((stage.script.stored(), stage.script.checkpoint()), (7, 7));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_leaves_gives_the_lead_to_another_at_once() {
    let mut stage = Stage::new();
    let first = stage.relay("a", "topic = '{key}'");
    stage.add("t", 1, 3);
    stage.entries("t", 3).await;
    stage.leaving.cancel();
    assert_eq!(first.await.unwrap(), End::Left);
    stage.leaving = CancellationToken::new();
    let began = Instant::now();
    let _second = stage.relay("b", "topic = '{key}'");
    stage.add("t", 4, 4);
    assert_eq!(stage.entries("t", 4).await, numbers(1, 4));
    assert!(began.elapsed() < BEAT);
    assert_eq!(stage.script.opened(), [0, 3], "the checkpoint is there too");
}

#[tokio::test(start_paused = true)]
async fn a_source_with_one_topic_does_not_read_again_what_was_no_event() {
    let stage = Stage::new();
    let lines = "topic = 't'\non-error = 'skip'\nevent-bytes-max = 3";
    let relay = stage.relay("a", lines);
    stage.add("t", 1, 2);
    stage.add("t", 1003, 1006);
    stage.entries("t", 2).await;
    sleep(2 * BEAT).await;
    relay.abort();
    let _relay = stage.relay("a", lines);
    stage.add("t", 7, 7);
    assert_eq!(stage.entries("t", 3).await, ["1", "2", "7"]);
    assert_eq!(stage.script.opened(), [0, 6]);
}
