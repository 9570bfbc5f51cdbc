//! Readers that may not read everything: a cursor never gives an event from before its floor.

use std::sync::Arc;
use std::time::Duration;

use event_log::{
    Append, Cursor, Event, Limit, Log, MemoryLog, NewEvent, OpenOptions, Origin, Part, Reason,
    Retention, Seek, Step, Topic,
};
use futures_util::FutureExt as _;

/// A topic with events at times that differ, and the positions of all.
async fn log(count: usize) -> (Arc<dyn Log>, Topic, Vec<event_log::Position>) {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Retention::default()));
    let topic = Topic::new("t").expect("a topic");
    let mut positions = Vec::new();
    for number in 0..count {
        let event = NewEvent { data: number.to_string().into(), ..NewEvent::default() };
        let receipt = log.append(vec![Append::new(topic.clone(), event)]).await.remove(0);
        positions.push(receipt.expect("stored").position);
        // The times of positions are in milliseconds.
        std::thread::sleep(Duration::from_millis(3));
    }
    (log, topic, positions)
}

/// Everything that a reader gets now: the gaps it is told, and the numbers of the events.
async fn read(
    log: &Arc<dyn Log>,
    topic: &Topic,
    origin: Origin,
    floor: Option<u64>,
) -> (Vec<(Reason, Option<u64>)>, Vec<u64>) {
    let opening = OpenOptions { floor, ..OpenOptions::from(origin) };
    let opened = Cursor::open_as(Arc::clone(log), vec![Part::of(topic)], opening).await;
    let mut cursor = opened.expect("the log answers").cursor;
    let (mut gaps, mut numbers) = (Vec::new(), Vec::new());
    while let Some(step) = cursor.next(Limit::PAGE).now_or_never() {
        match step {
            Step::Events { events, .. } => {
                numbers.extend(events.iter().map(|event: &Event| event.position().n));
            }
            Step::Gap { gap, .. } => gaps.push((gap.reason, gap.missed)),
            Step::Broken { .. } | Step::Reopened { .. } | Step::End { .. } | Step::Finished => {
                break;
            }
        }
    }
    (gaps, numbers)
}

#[tokio::test]
async fn no_origin_leads_below_the_floor() {
    let (log, topic, positions) = log(10).await;
    for lowest in 1..=10_usize {
        let floor = Some(positions[lowest - 1].ms);
        let all: Vec<u64> = (lowest as u64..=10).collect();
        for origin in [
            Origin::Seek(Seek::Earliest),
            Origin::Seek(Seek::Last(10)),
            Origin::Seek(Seek::Since(0)),
        ] {
            let (gaps, numbers) = read(&log, &topic, origin.clone(), floor).await;
            assert_eq!((gaps.len(), &numbers), (0, &all), "{origin:?} from {lowest}");
        }
        for (index, position) in positions.iter().enumerate() {
            let after = index as u64 + 1;
            let origin = Origin::Resume(position.to_string());
            let (gaps, numbers) = read(&log, &topic, origin, floor).await;
            let from = (after + 1).max(lowest as u64);
            assert_eq!(numbers, (from..=10).collect::<Vec<_>>(), "after {after}, from {lowest}");
            let missed = (from - 1) - after;
            let expected = if missed > 0 { vec![(Reason::History, Some(missed))] } else { vec![] };
            assert_eq!(gaps, expected, "after {after}, from {lowest}");
        }
    }
}

#[tokio::test]
async fn a_forged_cursor_leads_nowhere_below_the_floor() {
    let (log, topic, positions) = log(6).await;
    let floor = Some(positions[3].ms);
    for forged in ["1-1", "1-4", "1-99", "0-0", "1-18446744073709551615"] {
        let (gaps, numbers) = read(&log, &topic, Origin::Resume(forged.to_owned()), floor).await;
        assert_eq!(numbers, [4, 5, 6], "{forged}");
        assert_eq!(gaps.len(), 1, "{forged}");
    }
    let beyond = format!("{}-1", positions[5].ms + 1000);
    let (_, numbers) = read(&log, &topic, Origin::Resume(beyond), floor).await;
    assert!(numbers.iter().all(|n| *n >= 4), "{numbers:?}");
    let (_, numbers) = read(&log, &topic, Origin::Resume(String::from("nonsense")), floor).await;
    assert!(numbers.is_empty());
}
