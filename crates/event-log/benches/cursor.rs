//! The cursor's loop: time and allocations of a step, for a reader at the tail and a reader behind it.

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use event_log::{
    Append, Cursor, Limit, Log as _, MemoryLog, NewEvent, Origin, Retention, Seek, Step, Topic,
};
use futures_util::FutureExt as _;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const PAGE: Limit = Limit { events: 512, bytes: 64 * 1024 };

fn main() {
    divan::main();
}

fn topic() -> Topic {
    Topic::new("orders").expect("a good name")
}

fn publish(log: &MemoryLog) {
    let event = NewEvent { data: "x".repeat(200).into(), ..NewEvent::default() };
    let append = Append::new(topic(), event);
    let stored = log.append(vec![append]).now_or_never().expect("memory does not wait");
    assert!(stored[0].is_ok());
}

fn open(log: &Arc<MemoryLog>, origin: Origin) -> Cursor {
    let opening = Cursor::open(Arc::clone(log) as _, vec![topic()], origin);
    opening.now_or_never().expect("memory does not wait").expect("memory answers").0
}

fn step(cursor: &mut Cursor) -> Option<Step> {
    cursor.next(PAGE).now_or_never()
}

/// Delivers an event to each of many waiting readers, and polls each reader once more without an event.
#[divan::bench(args = [1, 100, 5000], sample_size = 1)]
fn deliver(bencher: Bencher<'_, '_>, readers: usize) {
    let log = Arc::new(MemoryLog::new(Retention::default()));
    let mut cursors: Vec<_> = (0..readers).map(|_| open(&log, Origin::Latest)).collect();
    bencher.counter(ItemsCount::new(readers)).with_inputs(|| publish(&log)).bench_local_values(
        |()| {
            for cursor in &mut cursors {
                assert!(black_box(step(cursor)).is_some());
                assert!(step(cursor).is_none());
            }
        },
    );
}

/// Reads the events that a returning reader has missed.
#[divan::bench(args = [1, 100, 1000], sample_size = 1)]
fn resume(bencher: Bencher<'_, '_>, missed: usize) {
    let log = Arc::new(MemoryLog::new(Retention::default()));
    (0..missed).for_each(|_| publish(&log));
    bencher
        .counter(ItemsCount::new(missed))
        .with_inputs(|| open(&log, Origin::Seek(Seek::Earliest)))
        .bench_local_values(|mut cursor| while black_box(step(&mut cursor)).is_some() {});
}
