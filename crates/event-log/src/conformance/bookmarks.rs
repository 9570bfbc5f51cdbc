//! Copies of a source's events: each is stored once, and none is lost.

use super::Lab;
use super::stage::{ALL, Stage, event, marked, numbers, topic};
use crate::{Advance, Append, AppendError, Bookmark, Key, Log, Mark, Position, Receipt, Topic};

fn source() -> Key {
    Key::new("source").expect("a key of letters")
}

fn bookmark(text: &str) -> Bookmark {
    Bookmark::new(text).expect("a short text")
}

/// The copy of an event, which moves the bookmark.
fn copy(topic: &Topic, from: Option<&str>, to: &str) -> Append {
    let advance = Advance { source: source(), from: from.map(bookmark), to: bookmark(to) };
    Append { advance: Some(advance), ..Append::new(topic.clone(), event(to)) }
}

async fn append(log: &dyn Log, append: Append) -> Result<Receipt, AppendError> {
    let answers = log.append(vec![append]).await;
    let [answer] = <[_; 1]>::try_from(answers).expect("one answer for one append");
    answer
}

async fn found(log: &dyn Log, topic: &Topic) -> Option<String> {
    let found = log.bookmark(topic, &source()).await.expect("the log answers");
    found.map(|bookmark| bookmark.to_string())
}

pub(super) async fn of_several_copiers_each_event_is_stored_once(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("copied");
    let logs = [lab.log(), lab.second().await];
    assert_eq!(found(&*logs[0], &topic).await, None);
    let copies = |topic| [copy(topic, None, "1 a"), copy(topic, Some("1 a"), "2 [\"b|c\"]")];
    let first = logs[0].append(copies(&topic).into()).await;
    let first: Vec<_> = first.into_iter().map(|answer| answer.expect("it is stored")).collect();
    assert!(first.iter().all(|receipt| !receipt.duplicate), "{first:?}");
    for log in &logs {
        assert_eq!(found(&**log, &topic).await.as_deref(), Some("2 [\"b|c\"]"));
        // The second copier is behind; the last event is there already, under its position.
        let last = found(&**log, &topic).await.as_deref().map(bookmark);
        let moved = Err(AppendError::Moved { topic: topic.clone(), found: last });
        let second = log.append(copies(&topic).into()).await;
        assert_eq!(second, [moved.clone(), Ok(Receipt { duplicate: true, ..first[1] })]);
        // A copier must not jump over what the log does not have.
        assert_eq!(append(&**log, copy(&topic, Some("3"), "4")).await, moved);
        assert_eq!(append(&**log, copy(&topic, None, "1")).await, moved);
    }
    let third = append(&*logs[1], copy(&topic, Some("2 [\"b|c\"]"), "3")).await;
    assert_eq!(third.map(|receipt| receipt.position.n), Ok(3));
    let page = stage.log.read(&topic, Position::START, ALL).await.expect("the log answers");
    assert_eq!(numbers(&page.events), [1, 2, 3]);
}

pub(super) async fn a_source_has_a_bookmark_in_each_topic(lab: &dyn Lab) {
    let log = lab.log();
    let other = Key::new("source|2").expect("a key");
    for topic in ["a", "b"].map(topic) {
        append(&*log, copy(&topic, None, "1")).await.expect("it is stored");
        let copy = copy(&topic, None, "x");
        let advance = copy.advance.map(|advance| Advance { source: other.clone(), ..advance });
        append(&*log, Append { advance, ..copy }).await.expect("it is stored");
        append(&*log, Append::new(topic.clone(), event("of a publisher"))).await.expect("stored");
        assert_eq!(found(&*log, &topic).await.as_deref(), Some("1"));
    }
}

pub(super) async fn a_bookmark_outlives_the_end_and_the_deletion_of_its_topic(lab: &dyn Lab) {
    let log = lab.log();
    let topic = topic("outlived");
    append(&*log, copy(&topic, None, "1")).await.expect("it is stored");
    let last = copy(&topic, Some("1"), "2");
    let last = Append { event: marked("2", Mark::Last), ..last };
    let ended = append(&*log, last.clone()).await.expect("it is stored");
    assert_eq!(append(&*log, last).await, Ok(Receipt { duplicate: true, ..ended }));
    let late = append(&*log, copy(&topic, Some("2"), "3")).await;
    assert_eq!(late, Err(AppendError::Ended { topic: topic.clone(), last: ended.position }));
    assert_eq!(found(&*log, &topic).await.as_deref(), Some("2"));
    let delete = Append::new(topic.clone(), marked("", Mark::Deleted));
    append(&*log, delete).await.expect("it is deleted");
    assert_eq!(found(&*log, &topic).await.as_deref(), Some("2"));
    let new = append(&*log, copy(&topic, Some("2"), "3")).await.expect("it is stored");
    assert_eq!(new.position.n, 1);
}
