//! Appending: one order, numbers without holes.

use super::Lab;
use super::stage::{ALL, Stage, event, marked, numbers, topic};
use crate::{Append, AppendError, Bounds, Limit, Mark, Position, Receipt};

pub(super) async fn numbers_are_dense_and_positions_rise(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("dense");
    let mut last = Position::START;
    for n in 1..=50 {
        let position = stage.publish(&topic, event("x")).await;
        assert_eq!(position.n, n);
        assert!(position > last && position.ms >= last.ms, "{position} after {last}");
        last = position;
    }
    let page = stage.log.read(&topic, Position::START, ALL).await.expect("the log answers");
    assert_eq!(page.gap, None);
    assert_eq!(numbers(&page.events), (1..=50).collect::<Vec<_>>());
    assert!(page.events.iter().all(|event| event.topic() == &topic));
}

pub(super) async fn a_batch_is_answered_in_order_and_a_refusal_stops_nothing(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let [a, b, ended] = ["a", "b", "ended"].map(topic);
    let last = stage.publish(&ended, marked("", Mark::End)).await;
    let to = [&a, &b, &a, &ended, &a, &b];
    let batch = to.iter().map(|topic| Append::new((*topic).clone(), event("x")));
    let receipts = stage.log.append(batch.collect()).await;
    let refused = AppendError::Ended { topic: ended.clone(), last };
    let got: Vec<_> = receipts.into_iter().map(|r| r.map(|r| r.position.n)).collect();
    assert_eq!(got, [Ok(1), Ok(1), Ok(2), Err(refused), Ok(3), Ok(2)]);
    assert!(stage.log.append(Vec::new()).await.is_empty());
}

pub(super) async fn two_publishers_make_one_order(lab: &dyn Lab) {
    const EACH: usize = 100;
    let (one, other) = (lab.log(), lab.second().await);
    let topic = topic("two-publishers");
    let publish = |log: std::sync::Arc<dyn crate::Log>, name: &'static str| {
        let topic = topic.clone();
        async move {
            let mut receipts = Vec::new();
            for i in 0..EACH {
                let event = event(&format!("{name} {i}"));
                let batch = vec![Append::new(topic.clone(), event)];
                receipts.extend(log.append(batch).await);
                tokio::task::yield_now().await;
            }
            let receipts = receipts.into_iter().map(|r| r.expect("the log takes an event"));
            receipts.map(|Receipt { position, .. }| position).collect::<Vec<_>>()
        }
    };
    let (ones, others) = tokio::join!(
        tokio::spawn(publish(one.clone(), "one")),
        tokio::spawn(publish(other.clone(), "other"))
    );
    let (ones, others) = (ones.expect("no panic"), others.expect("no panic"));
    assert!(ones.is_sorted() && others.is_sorted(), "a publisher's own order is kept");
    let mut all: Vec<_> = ones.iter().chain(&others).copied().collect();
    all.sort();
    assert_eq!(
        all.iter().map(|p| p.n).collect::<Vec<_>>(),
        (1..=2 * EACH as u64).collect::<Vec<_>>()
    );
    for log in [one, other] {
        // A log may return smaller pages than the limit.
        let mut events: Vec<crate::Event> = Vec::new();
        while events.len() < all.len() {
            let after = events.last().map_or(Position::START, crate::Event::position);
            let page = log.read(&topic, after, ALL).await.expect("the log answers");
            assert!(!page.events.is_empty(), "something follows {after}");
            events.extend(page.events);
        }
        assert_eq!(events.iter().map(crate::Event::position).collect::<Vec<_>>(), all);
        for (name, own) in [("one", &ones), ("other", &others)] {
            let data = events.iter().filter(|e| own.contains(&e.position())).map(|e| e.data());
            assert!(data.eq((0..EACH).map(|i| format!("{name} {i}"))), "{name}");
        }
    }
}

pub(super) async fn bounds_tell_what_is_there(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let (topic, second) = (topic("bounds"), lab.second().await);
    let bounds = async || {
        let here = stage.log.bounds(&topic).await.expect("the log answers");
        let there = second.bounds(&topic).await.expect("the log answers");
        assert_eq!(here, there);
        assert_eq!(here, stage.truth.of(&topic, |history| history.bounds()));
        here
    };
    assert_eq!(bounds().await, None);
    let positions = stage.fill(&topic, 7).await;
    let (head, oldest) = (positions[7], Some(positions[1]));
    assert_eq!(
        bounds().await,
        Some(Bounds { head, oldest, length: 7, ended: false, broken: false })
    );
    stage.trim(&topic, 3).await;
    let oldest = Some(positions[5]);
    assert_eq!(
        bounds().await,
        Some(Bounds { head, oldest, length: 3, ended: false, broken: false })
    );
    stage.trim(&topic, 0).await;
    assert_eq!(
        bounds().await,
        Some(Bounds { head, oldest: None, length: 0, ended: false, broken: false })
    );
    let head = stage.publish(&topic, marked("", Mark::End)).await;
    assert_eq!(
        bounds().await,
        Some(Bounds { head, oldest: Some(head), length: 1, ended: true, broken: false })
    );
    stage.flush().await;
    assert_eq!(bounds().await, None);
    // A topic that has readers but no events is unknown too.
    let tail = stage.log.tail(&topic).await.expect("the log answers");
    assert_eq!((bounds().await, tail.head()), (None, Position::START));
    let page = stage.log.read(&topic, Position::START, Limit::ONE).await.expect("the log answers");
    assert!(page.gap.is_none() && page.events.is_empty());
}
