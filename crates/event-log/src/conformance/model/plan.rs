//! The plan of a random test, as data that proptest can shrink and print.

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{BreakReason, Mark, Seek};

/// Topics in a plan: the first ones have a log of their own, and the others lie in one space.
pub(super) const TOPICS: usize = 5;
/// The first topic in the space.
pub(super) const IN_SPACE: usize = 2;
/// Patterns of topics in the space, from which a reader chooses.
pub(super) const PATTERNS: usize = 3;
/// Readers of a plan at a time.
const READERS: usize = 4;
/// Different idempotency keys: few, so that keys repeat.
const KEYS: u8 = 3;
/// Different texts of an entry with a key: few, so that most entries with a used key are retries.
const TEXTS: u8 = 2;

/// One operation of a plan.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Publishes one entry, with its text if it has a key.
    Append { node: usize, topic: usize, key: Option<(u8, u8)>, mark: Mark },
    /// Publishes several entries.
    Fill { topic: usize, count: u64 },
    /// Reads the log after a position that it once gave out.
    Read { node: usize, topic: usize, after: usize, limit: usize },
    /// Asks the log for the bounds of a topic.
    Bounds { node: usize, topic: usize },
    /// Drops all but the newest entries.
    Trim { topic: usize, keep: usize },
    /// Wipes the store.
    Flush,
    /// Lets milliseconds pass, if the lab can.
    Pass { ms: u64 },
    /// A reader comes and replaces the reader in its slot.
    Open { node: usize, reader: usize, topics: Vec<bool>, patterns: Vec<bool>, start: Arrival },
    /// A reader takes its next step if there is one.
    Next { reader: usize, limit: usize },
    /// A reader is cut off after an event of its last step, or after the whole step, and reconnects.
    Reconnect { node: usize, reader: usize, cut: Option<usize> },
}

/// The origin of a new reader.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    Latest,
    Seek(Seek),
    /// Some milliseconds after the time of an event that was once published.
    Since {
        entry: usize,
        plus: u64,
    },
    Garbage,
}

/// Plans of up to `ops` steps.
pub(super) fn plan(ops: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..ops)
}

fn op() -> impl Strategy<Value = Op> {
    let (node, topic, reader) = (0..2usize, 0..TOPICS, 0..READERS);
    let any_entry = 0..1000usize;
    let limit = prop_oneof![Just(1usize), 0..5usize, Just(1000)];
    let broken = prop_oneof![Just(BreakReason::Disconnected), Just(BreakReason::Timeout)];
    let broken = broken.prop_map(Mark::Broken);
    let mark = prop_oneof![30 => Just(Mark::Open), 1 => Just(Mark::Last), 1 => Just(Mark::End), 2 => broken, 1 => Just(Mark::Deleted), 2 => Just(Mark::Reopened)];
    prop_oneof![
        12 => (node.clone(), topic.clone(), option::weighted(0.3, (0..KEYS, 0..TEXTS)), mark)
            .prop_map(|(node, topic, key, mark)| Op::Append { node, topic, key, mark }),
        4 => (topic.clone(), 1..9u64).prop_map(|(topic, count)| Op::Fill { topic, count }),
        5 => (node.clone(), topic.clone(), any_entry, limit.clone())
            .prop_map(|(node, topic, after, limit)| Op::Read { node, topic, after, limit }),
        2 => (node.clone(), topic.clone()).prop_map(|(node, topic)| Op::Bounds { node, topic }),
        3 => (topic, 0..6usize).prop_map(|(topic, keep)| Op::Trim { topic, keep }),
        1 => Just(Op::Flush),
        3 => prop_oneof![Just(1u64), 900..1100u64, 4900..5100u64, 9900..10_100u64, 29_900..30_200u64]
            .prop_map(|ms| Op::Pass { ms }),
        4 => (
            node.clone(), reader.clone(), vec(any::<bool>(), TOPICS), vec(weighted(0.2), PATTERNS), start(),
        )
            .prop_map(|(node, reader, topics, patterns, start)| {
                Op::Open { node, reader, topics, patterns, start }
            }),
        20 => (reader.clone(), limit).prop_map(|(reader, limit)| Op::Next { reader, limit }),
        6 => (node, reader, option::of(0..5usize))
            .prop_map(|(node, reader, cut)| Op::Reconnect { node, reader, cut }),
    ]
}

fn start() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        3 => Just(Arrival::Latest),
        2 => Just(Arrival::Seek(Seek::Earliest)),
        2 => (0..8u64).prop_map(|count| Arrival::Seek(Seek::Last(count))),
        1 => (0..1000usize, 0..3u64).prop_map(|(entry, plus)| Arrival::Since { entry, plus }),
        1 => Just(Arrival::Garbage),
    ]
}
