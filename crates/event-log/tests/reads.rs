//! A cursor reads the log as often as necessary, and no more.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are"
)]

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, Cursor, Event, Key, Limit, Log, LogName, MemoryLog,
    NewEvent, Origin, Outcome, Page, Position, ReadError, Receipt, Retention, Seek, Sought, Step,
    Tail, Topic,
};
use tokio::time::{Instant, sleep, timeout};

/// A log that counts its reads. Its tails move only when a test moves them.
#[derive(Debug)]
struct Counted {
    store: MemoryLog,
    tails: Mutex<HashMap<LogName, Arc<Tail>>>,
    /// The log and limit of each read, in order.
    reads: Mutex<Vec<(LogName, Limit)>>,
    under_way: Arc<AtomicUsize>,
    /// The log whose reads fail.
    failing: Mutex<Option<LogName>>,
}

/// Counts a read as under way until it is answered or dropped.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The time that a read takes.
const READ: Duration = Duration::from_millis(2);
/// The longest pause between two reads.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Reads that fit into the first two seconds, with pauses of 50 ms, 100 ms and so on between them.
const HANDFUL: usize = 7;

impl Counted {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryLog::new(Retention::default()),
            tails: Mutex::default(),
            reads: Mutex::default(),
            under_way: Arc::default(),
            failing: Mutex::default(),
        })
    }

    /// Publishes to the store without telling the tails.
    async fn publish(&self, topic: &Topic, count: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..count {
            let event = NewEvent { data: "x".into(), ..NewEvent::default() };
            let append = Append::new(topic.clone(), event.clone());
            let receipt = self.store.append(vec![append]).await.remove(0).unwrap();
            events.push(Event::new(topic.clone(), receipt.position, event));
        }
        events
    }

    /// The tail of a log, at `head` if it is new.
    fn tail_at(&self, log: &LogName, head: Position) -> Arc<Tail> {
        let limit = Limit { events: 8, bytes: usize::MAX };
        let mut tails = self.tails.lock().unwrap();
        let tail = tails.entry(log.clone());
        Arc::clone(tail.or_insert_with(|| Arc::new(Tail::new(head, false, limit))))
    }

    async fn open(self: &Arc<Self>, topics: &[&Topic], origin: Origin) -> (Cursor, Outcome) {
        let topics = topics.iter().copied().cloned().collect();
        Cursor::open(Arc::clone(self) as Arc<dyn Log>, topics, origin).await.unwrap()
    }

    fn reads(&self) -> usize {
        self.reads.lock().unwrap().len()
    }

    fn reads_of(&self, log: &LogName) -> usize {
        self.reads.lock().unwrap().iter().filter(|(read, _)| read == log).count()
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }
}

#[async_trait]
impl Log for Counted {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.store.append(batch).await
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.reads.lock().unwrap().push((log.clone(), limit));
        self.under_way.fetch_add(1, Relaxed);
        let _under_way = UnderWay(Arc::clone(&self.under_way));
        sleep(READ).await;
        let fails = self.failing.lock().unwrap().as_ref() == Some(log);
        match fails {
            true => Err(ReadError::Unavailable("on purpose".to_owned())),
            false => self.store.read(log, after, limit).await,
        }
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.store.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.store.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.store.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.store.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        let head = self.store.bounds(log).await?.map_or(Position::START, |bounds| bounds.head);
        Ok(self.tail_at(log, head))
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.store.echo(log).await
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

/// A reader at the head of a topic of ten events, of which its node's tail knows the first two.
async fn ahead() -> (Arc<Counted>, Arc<Tail>, Vec<Event>, Cursor) {
    let (log, topic) = (Counted::new(), topic("ahead"));
    let events = log.publish(&topic, 10).await;
    let tail = log.tail_at(&topic, events[1].position());
    let origin = Origin::Resume(events[9].position().to_string());
    let (cursor, outcome) = log.open(&[&topic], origin).await;
    assert_eq!(outcome, Outcome::Exact);
    (log, tail, events, cursor)
}

fn numbers(step: Step) -> (usize, Vec<u64>) {
    match step {
        Step::Events { place, events } => {
            (place, events.iter().map(|event| event.position().n).collect())
        }
        other => panic!("{other:?} instead of events"),
    }
}

/// The cursor's next step must not come within this time.
async fn wait_in_vain(cursor: &mut Cursor, time: Duration) {
    let step = timeout(time, cursor.next(Limit::PAGE)).await;
    assert!(step.is_err(), "{step:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_of_its_tail_pauses_longer_after_each_empty_read() {
    let (log, _, _, mut cursor) = ahead().await;
    wait_in_vain(&mut cursor, PAUSE_MAX).await;
    assert!((2..=HANDFUL).contains(&log.reads()), "{} reads in 2 s", log.reads());
    let before = log.reads();
    wait_in_vain(&mut cursor, 10 * PAUSE_MAX).await;
    let reads = log.reads() - before;
    assert!((8..=10).contains(&reads), "{reads} reads in 20 s: the longest pause is 2 s");
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_catches_up_ends_the_pause_at_once() {
    let (log, tail, events, mut cursor) = ahead().await;
    wait_in_vain(&mut cursor, 10 * PAUSE_MAX).await;
    let next = log.publish(&topic("ahead"), 1).await;
    let (reads, began) = (log.reads(), Instant::now());
    let mover = async {
        tokio::task::yield_now().await;
        tail.extend(events[2..].iter().cloned());
        tail.extend(next);
    };
    let (step, ()) = tokio::join!(cursor.next(Limit::PAGE), mover);
    assert_eq!(numbers(step), (0, vec![11]));
    assert_eq!((log.reads(), began.elapsed()), (reads, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_passes_the_reader_ends_the_pause_at_once() {
    let (log, tail, _, mut cursor) = ahead().await;
    wait_in_vain(&mut cursor, 10 * PAUSE_MAX).await;
    let next = log.publish(&topic("ahead"), 3).await;
    let (reads, began) = (log.reads(), Instant::now());
    let mover = async {
        tokio::task::yield_now().await;
        tail.reset(next[2].position(), false);
    };
    let (step, ()) = tokio::join!(cursor.next(Limit::PAGE), mover);
    assert_eq!(numbers(step), (0, vec![11, 12, 13]));
    assert_eq!((log.reads(), began.elapsed()), (reads + 1, READ));
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_only_comes_closer_causes_no_read() {
    let (log, tail, events, mut cursor) = ahead().await;
    wait_in_vain(&mut cursor, 10 * PAUSE_MAX).await;
    let reads = log.reads();
    for event in &events[2..9] {
        tail.extend([event.clone()]);
        wait_in_vain(&mut cursor, Duration::from_millis(1)).await;
    }
    assert_eq!(log.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_ahead_neither_delays_the_others_nor_makes_them_spin() {
    let (log, live, lone) = (Counted::new(), topic("live"), topic("ahead"));
    let events = log.publish(&lone, 10).await;
    let (cursor, _) = log.open(&[&live, &lone], Origin::Latest).await;
    let wire = cursor.wire();
    drop(cursor);
    let tail = log.tail_at(&lone, Position::START);
    tail.reset(events[1].position(), false);
    let (mut cursor, _) = log.open(&[&live, &lone], Origin::Resume(wire)).await;
    let tail = log.tail_at(&live, Position::START);
    for n in 1..=200 {
        wait_in_vain(&mut cursor, Duration::from_millis(9)).await;
        tail.extend(log.publish(&live, 1).await);
        let began = Instant::now();
        assert_eq!(numbers(cursor.next(Limit::PAGE).await), (1, vec![n]));
        assert!(began.elapsed() <= READ, "an event waited {:?}", began.elapsed());
    }
    assert_eq!(log.reads_of(&live), 0);
    // The test cancels its waits, and with a wait a read, which the next wait begins again.
    assert!((2..=2 * HANDFUL).contains(&log.reads()), "{} reads in 2 s", log.reads());
}

#[tokio::test(start_paused = true)]
async fn the_pause_of_one_topic_is_not_the_pause_of_another() {
    let (log, behind, broken) = (Counted::new(), topic("behind"), topic("broken"));
    let (mut cursor, _) = log.open(&[&behind, &broken], Origin::Latest).await;
    *log.failing.lock().unwrap() = Some((*broken).clone());
    let events = log.publish(&broken, 9).await;
    log.tail_at(&broken, Position::START).reset(events[8].position(), false);
    wait_in_vain(&mut cursor, 10 * PAUSE_MAX).await;
    let events = log.publish(&behind, 9).await;
    log.tail_at(&behind, Position::START).reset(events[8].position(), false);
    let began = Instant::now();
    assert_eq!(numbers(cursor.next(Limit::PAGE).await), (0, (1..=9).collect()));
    assert!(began.elapsed() <= 2 * READ, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_is_not_asked_for_each_move_of_the_tail() {
    let (log, topic) = (Counted::new(), topic("broken"));
    let (mut cursor, _) = log.open(&[&topic], Origin::Latest).await;
    *log.failing.lock().unwrap() = Some((*topic).clone());
    let tail = log.tail_at(&topic, Position::START);
    for event in log.publish(&topic, 200).await {
        tail.reset(event.position(), false);
        wait_in_vain(&mut cursor, Duration::from_millis(10)).await;
    }
    assert!((2..=HANDFUL).contains(&log.reads()), "{} reads in 2 s", log.reads());
    assert!(cursor.try_next(Limit::PAGE).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cold_resume_reads_its_page_once() {
    let (log, topic) = (Counted::new(), topic("cold"));
    let events = log.publish(&topic, 100).await;
    let origin = Origin::Resume(events[9].position().to_string());
    let (mut cursor, outcome) = log.open(&[&topic], origin).await;
    assert_eq!(outcome, Outcome::Exact);
    assert_eq!(numbers(cursor.next(Limit::PAGE).await), (0, (11..=100).collect()));
    wait_in_vain(&mut cursor, PAUSE_MAX).await;
    assert_eq!(log.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_the_opening_is_cut_to_the_limit_of_its_step() {
    let (log, topic) = (Counted::new(), topic("cold"));
    let events = log.publish(&topic, 20).await;
    let origin = Origin::Resume(events[9].position().to_string());
    let (mut cursor, _) = log.open(&[&topic], origin).await;
    let limit = Limit { events: 4, bytes: usize::MAX };
    for expected in [11..=14, 15..=18, 19..=20] {
        assert_eq!(numbers(cursor.next(limit).await), (0, expected.collect()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_topics_of_an_opening_share_one_page() {
    let log = Counted::new();
    let topics = ["a", "b", "c"].map(topic);
    let (cursor, _) = log.open(&topics.each_ref(), Origin::Latest).await;
    let wire = cursor.wire();
    drop(cursor);
    for topic in &topics {
        let last = log.publish(topic, 400).await.pop().unwrap();
        log.tail_at(topic, Position::START).reset(last.position(), false);
    }
    let (mut cursor, outcome) = log.open(&topics.each_ref(), Origin::Resume(wire)).await;
    assert_eq!(outcome, Outcome::Exact);
    let limits: Vec<_> = log.reads.lock().unwrap().drain(..).map(|(_, limit)| limit).collect();
    let left: Vec<_> = limits.iter().map(|limit| limit.events).collect();
    let kept: usize = left.windows(2).map(|pair| pair[0] - pair[1]).sum();
    assert!(limits[0] == Limit::PAGE && kept > 0 && left[0] > left[1], "{limits:?}");
    let mut told = [0; 3];
    while told != [400; 3] {
        let (topic, numbers) = numbers(cursor.next(Limit::PAGE).await);
        assert_eq!(numbers[0], told[topic] + 1);
        told[topic] = *numbers.last().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_dropped_with_its_future_and_no_read_stays_under_way() {
    let (log, topic) = (Counted::new(), topic("behind"));
    let (mut cursor, _) = log.open(&[&topic], Origin::Latest).await;
    let last = log.publish(&topic, 20).await.pop().unwrap();
    log.tail_at(&topic, Position::START).reset(last.position(), false);
    wait_in_vain(&mut cursor, READ / 2).await;
    assert_eq!((log.reads(), log.under_way()), (1, 0));
    assert_eq!(numbers(cursor.next(Limit::PAGE).await), (0, (1..=20).collect()));
}

#[tokio::test(start_paused = true)]
async fn a_read_is_carried_from_poll_to_poll_until_it_is_cancelled() {
    let (log, topic) = (Counted::new(), topic("behind"));
    let (mut cursor, _) = log.open(&[&topic], Origin::Latest).await;
    let last = log.publish(&topic, 20).await.pop().unwrap();
    log.tail_at(&topic, Position::START).reset(last.position(), false);
    for _ in 0..3 {
        let polled = poll_fn(|cx| Poll::Ready(cursor.poll_next(Limit::PAGE, cx))).await;
        assert!(polled.is_pending());
        assert_eq!((log.reads(), log.under_way()), (1, 1));
    }
    cursor.cancel_read();
    assert_eq!(log.under_way(), 0);
    assert_eq!(numbers(cursor.next(Limit::PAGE).await), (0, (1..=20).collect()));
    assert_eq!(log.reads(), 2);
}
