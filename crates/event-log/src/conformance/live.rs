//! Waiting readers.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{join_all, poll_fn};
use tokio::time::timeout;

use super::dice::Dice;
use super::stage::{ALL, Stage, event, marked, topic};
use super::{DEADLINE, Lab};
use crate::{Limit, Mark, Origin, Position, Step, Topic};

pub(super) async fn waiting_readers_are_woken_on_every_node(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topics: [Topic; 2] = ["one", "two"].map(topic);
    let logs = [lab.log(), lab.second().await, lab.second().await];
    let mut readers = Vec::new();
    for log in &logs {
        readers.push(stage.reader(log, &topics[..1], Origin::Latest).await);
        readers.push(stage.reader(log, &topics, Origin::Latest).await);
    }
    for round in 1..=5 {
        let waiting = join_all(readers.iter_mut().map(|reader| async move {
            timeout(DEADLINE, reader.cursor_mut().next(ALL)).await.expect("it is woken")
        }));
        // The publisher comes last, so that the readers are polled and wait before it begins.
        let (steps, position) =
            tokio::join!(biased; waiting, stage.publish(&topics[0], event("wake")));
        // Compared only now: a reader may get the event before the publisher gets the receipt.
        for (reader, step) in readers.iter_mut().zip(&steps) {
            reader.enter(step, &stage.truth).expect("the step is true");
        }
        assert_eq!(position.n, round);
        assert!(readers.iter().any(|reader| reader.ledgers().iter().any(|l| l.n() == round)));
    }
}

pub(super) async fn a_hundred_readers_share_a_tail(lab: &dyn Lab) {
    const N: u64 = 50;
    let stage = Stage::new(lab);
    let topic = topic("shared");
    let topics = std::slice::from_ref(&topic);
    let mut readers = Vec::new();
    for _ in 0..100 {
        readers.push(stage.reader(&stage.log, topics, Origin::Latest).await);
    }
    let tail = stage.log.tail(&topic).await.expect("the log answers");
    assert_eq!(tail.readers(), 100);
    assert!(Arc::ptr_eq(&tail, &stage.log.tail(&topic).await.expect("the log answers")));
    stage.fill(&topic, N - 1).await;
    stage.publish(&topic, marked("last", Mark::Last)).await;
    join_all(readers.iter_mut().enumerate().map(async |(i, reader)| {
        stage.read_to(reader, N, Limit { events: 1 + i % 7, bytes: usize::MAX }).await;
        let step = stage.step(reader, ALL).await;
        assert!(matches!(step, Step::End { .. }), "{step:?}");
    }))
    .await;
    drop(readers);
    assert_eq!(tail.readers(), 0);
}

/// Polls a future of `next` a few times and drops it, as `select!` does, again and again.
pub(super) async fn dropping_a_wait_at_any_point_loses_nothing(lab: &dyn Lab) {
    const N: u64 = 120;
    let stage = Stage::new(lab);
    let topics: [Topic; 2] = ["one", "two"].map(topic);
    for seed in 0..8 {
        let mut dice = Dice::new(seed);
        let count = 1 + usize::try_from(seed % 2).expect("small");
        let topics = &topics[..count];
        let log = if seed < 4 { lab.log() } else { lab.second().await };
        let mut reader = stage.reader(&log, topics, Origin::Latest).await;
        let mut published = 0;
        let target = |topic: &Topic| {
            stage.truth.of(topic, |h| h.bounds().map_or(Position::START, |b| b.head).n)
        };
        loop {
            let behind =
                topics.iter().zip(reader.ledgers()).any(|(t, ledger)| ledger.n() < target(t));
            if published < N && (!behind || dice.chance(30)) {
                stage.publish(dice.pick(topics), event("x")).await;
                published += 1;
                continue;
            }
            if !behind {
                break;
            }
            // Some futures run to the end, since a slow store may never answer within a few polls.
            let polls = if dice.chance(20) { u64::MAX } else { dice.below(6) };
            let limit = Limit { events: 1, bytes: usize::MAX };
            let step = {
                let next = pin!(reader.cursor_mut().next(limit));
                timeout(DEADLINE, poll_at_most(next, polls)).await.expect("a step comes")
            };
            if let Some(step) = step {
                reader.enter(&step, &stage.truth).expect("the step is true");
            }
        }
    }
}

async fn poll_at_most<F: Future>(
    mut future: std::pin::Pin<&mut F>,
    polls: u64,
) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|context| {
        let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = fewer;
        let polled = future.as_mut().poll(context);
        if polled.is_pending() && polls != u64::MAX {
            context.waker().wake_by_ref();
        }
        polled.map(Some)
    })
    .await
}

pub(super) async fn an_echo_comes_back_and_leaves_nothing(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for log in [lab.log(), lab.second().await] {
        let (empty, used) = (topic("echo"), topic("echo"));
        stage.fill(&used, 3).await;
        for _ in 0..3 {
            for topic in [&empty, &used] {
                log.echo(topic).await.expect("it comes back");
            }
        }
        assert_eq!(log.bounds(&empty).await.expect("the log answers"), None);
        let bounds = log.bounds(&used).await.expect("the log answers").expect("it is known");
        assert_eq!((bounds.head.n, bounds.length), (3, 3));
    }
}
