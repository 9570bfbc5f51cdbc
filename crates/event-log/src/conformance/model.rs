//! Random interleavings of operations on a log and its readers, compared with a model.
//!
//! The model is the [`history`](super::history) of the acknowledged entries, and a [`ledger`](super::ledger)
//! of the steps of each reader in each log. Proptest shrinks a failing plan and prints it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;
use tokio::time::{Instant, advance};

use super::Lab;
use super::history::{History, Truth, Verdict};
use super::ledger::Ledger;
use super::reader::Reader;
use super::stage::{event, marked, topic};
use crate::{
    AppendError, Key, Limit, Log, LogName, Mark, NewEvent, Origin, Outcome, Page, Pattern,
    Position, Reason, Receipt, Retention, Seek, Step, Topic,
};

mod plan;

use plan::{Arrival, IN_SPACE, Op, PATTERNS, TOPICS};

/// The longest plan.
const OPS: usize = 120;
/// Most steps of a reader to catch up; a plan publishes fewer entries.
const CATCH_UP: usize = 10_000;

/// The space, and the ends of its topics and patterns.
const SPACE: &str = "check-model/";
const NAMES: [&str; TOPICS - IN_SPACE] = ["a", "b/1", "b/2"];
const WILD: [&str; PATTERNS] = ["*", "b/*", "**"];

/// Runs `cases` random plans, each in a new runtime and lab.
///
/// # Panics
/// The log contradicts the model in one of the plans.
pub fn interleavings<L: Lab>(cases: u32, runtime: impl Fn() -> Runtime, lab: impl AsyncFn() -> L) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let verdict = TestRunner::new(config).run(&plan::plan(OPS), |plan| {
        let run = async { Run::new(&lab().await).await.all(&plan).await };
        runtime().block_on(run).map_err(TestCaseError::fail)
    });
    if let Err(error) = verdict {
        panic!("{error}");
    }
}

/// The run of a plan.
struct Run<'a> {
    lab: &'a dyn Lab,
    nodes: [Arc<dyn Log>; 2],
    topics: Vec<Topic>,
    truth: Truth,
    readers: BTreeMap<usize, Seat>,
    /// Each key's event, and the time until which the log remembers the key.
    keys: BTreeMap<(usize, u8), (Position, NewEvent, u64)>,
    clock: Option<Ageing>,
}

/// A reader, with its ledgers before its last step.
struct Seat {
    reader: Reader,
    before: Vec<Ledger>,
    last: Option<Step>,
}

/// A lab's clock: its milliseconds at an instant.
struct Ageing {
    retention: Retention,
    ms: u64,
    at: Instant,
}

impl<'a> Run<'a> {
    async fn new(lab: &'a dyn Lab) -> Self {
        let mut run = Self {
            lab,
            nodes: [lab.log(), lab.second().await],
            topics: (0..IN_SPACE)
                .map(|i| topic(&format!("model{i}")))
                .chain(NAMES.map(|name| Topic::new(&format!("{SPACE}{name}")).expect("a name")))
                .collect(),
            truth: Truth::default(),
            readers: BTreeMap::new(),
            keys: BTreeMap::new(),
            clock: None,
        };
        if let Some(retention) = lab.ageing() {
            let probe = run.truth.publish(&*run.nodes[0], &topic("clock"), event(""), None).await;
            let ms = probe.expect("the log takes an event").position.ms;
            run.clock = Some(Ageing { retention, ms, at: Instant::now() });
        }
        run
    }

    async fn all(mut self, plan: &[Op]) -> Verdict {
        for op in plan {
            self.age();
            self.one(op).await.map_err(|why| format!("{op:?}: {why}"))?;
        }
        self.age();
        self.catch_up().await
    }

    async fn one(&mut self, op: &Op) -> Verdict {
        match *op {
            Op::Append { node, topic, key, mark } => self.append(node, topic, key, mark).await,
            Op::Fill { topic, count } => {
                for _ in 0..count {
                    self.append(0, topic, None, Mark::Open).await?;
                }
                Ok(())
            }
            Op::Read { node, topic, after, limit } => self.read(node, topic, after, limit).await,
            Op::Bounds { node, topic } => self.bounds(node, topic).await,
            Op::Trim { topic, keep } => {
                let log = self.log_of(topic);
                if self.truth.of(&log, |history| history.bounds()).is_some() {
                    self.lab.trim(&log, keep).await;
                    self.truth.of(&log, |history| history.trim(keep));
                }
                Ok(())
            }
            Op::Flush => {
                self.lab.flush().await;
                self.truth.each(History::forget);
                self.keys.clear();
                Ok(())
            }
            Op::Pass { ms } => {
                if self.clock.is_some() {
                    advance(Duration::from_millis(ms)).await;
                }
                Ok(())
            }
            Op::Open { node, reader, ref topics, ref patterns, ref start } => {
                self.open((node, reader), topics, patterns, start).await
            }
            Op::Next { reader, limit } => match self.readers.get_mut(&reader) {
                Some(seat) => seat.next(limit, &self.truth).await,
                None => Ok(()),
            },
            Op::Reconnect { node, reader, cut } => match self.readers.remove(&reader) {
                Some(seat) => {
                    let log = Arc::clone(&self.nodes[node]);
                    self.readers.insert(reader, seat.reconnect(log, cut, &self.truth).await?);
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }

    fn log_of(&self, topic: usize) -> LogName {
        super::spaces().log_of(&self.topics[topic])
    }

    fn now(&self) -> u64 {
        let elapsed = |clock: &Ageing| clock.ms + millis(clock.at.elapsed());
        self.clock.as_ref().map_or(0, elapsed)
    }

    /// Ages the truth.
    fn age(&mut self) {
        let (now, Some(Ageing { retention, .. })) = (self.now(), &self.clock) else { return };
        self.truth.each(|history| {
            history.trim(retention.events);
            history.age(now.saturating_sub(millis(retention.age)));
            let head = history.bounds().map_or(now, |bounds| bounds.head.ms);
            if now.saturating_sub(head) > millis(retention.topic) {
                history.forget();
            }
        });
        self.keys.retain(|_, (_, _, until)| *until > now);
    }

    async fn append(
        &mut self,
        node: usize,
        topic: usize,
        key: Option<(u8, u8)>,
        mark: Mark,
    ) -> Verdict {
        let (name, log) = (&self.topics[topic], self.log_of(topic));
        let bounds = self.truth.of(&log, |history| history.bounds());
        let data = match (key, mark) {
            (_, Mark::Broken(_) | Mark::Deleted | Mark::Reopened) => String::new(),
            (Some((_, text)), _) => format!("{text}"),
            (None, _) => format!("{} of {topic}", self.now()),
        };
        let event = NewEvent { mark, ..event(&data) };
        let key = key.map(|(key, _)| key).filter(|_| mark != Mark::Deleted);
        let known = key.and_then(|key| self.keys.get(&(topic, key)));
        let bounds_are_gone = bounds.is_none();
        let duplicate = |position| Receipt { position, duplicate: true };
        let expected = match (known, bounds) {
            _ if log.is_space() && !mark.is_shareable() => {
                Some(Err(AppendError::InSpace { topic: name.clone(), mark }))
            }
            (Some((position, first, _)), _) if *first == event => Some(Ok(duplicate(*position))),
            (Some((position, ..)), _) => {
                Some(Err(AppendError::KeyReused { topic: name.clone(), first: *position }))
            }
            (None, Some(bounds)) if bounds.ended && mark == Mark::End => {
                Some(Ok(duplicate(bounds.head)))
            }
            (None, None) if mark == Mark::Deleted => Some(Ok(duplicate(Position::START))),
            (None, None) if mark == Mark::Reopened => Some(Ok(duplicate(Position::START))),
            (None, Some(bounds)) if mark == Mark::Reopened && !bounds.ended => {
                Some(Ok(duplicate(bounds.head)))
            }
            (None, Some(_)) if matches!(mark, Mark::Deleted | Mark::Reopened) => None,
            (None, Some(bounds)) if bounds.ended => {
                Some(Err(AppendError::Ended { topic: name.clone(), last: bounds.head }))
            }
            _ => None,
        };
        let sent = key.map(|key| Key::new(&format!("key-{key}")).expect("a key"));
        let answer = self.truth.publish(&*self.nodes[node], name, event.clone(), sent).await;
        match (answer, expected) {
            (answer, Some(expected)) if answer != expected => {
                Err(format!("answered {answer:?} instead of {expected:?}"))
            }
            // A log may know the place behind a deleted topic.
            (Ok(Receipt { duplicate: true, .. }), Some(Ok(_)))
                if bounds_are_gone && matches!(mark, Mark::Deleted | Mark::Reopened) =>
            {
                Ok(())
            }
            (Ok(Receipt { duplicate: false, .. }), None) if mark == Mark::Deleted => {
                self.keys.retain(|(of, _), _| *of != topic);
                Ok(())
            }
            (Ok(Receipt { position, duplicate: false }), None) => {
                let until = self.clock.as_ref().map_or(u64::MAX, |clock| {
                    self.now().saturating_add(millis(clock.retention.key))
                });
                if let Some(key) = key {
                    self.keys.insert((topic, key), (position, event, until));
                }
                self.age();
                Ok(())
            }
            (answer, None) => Err(format!("answered {answer:?} to what is new")),
            _ => Ok(()),
        }
    }

    async fn read(&mut self, node: usize, topic: usize, after: usize, limit: usize) -> Verdict {
        let log = self.log_of(topic);
        let after = self.truth.of(&log, |history| history.any_position(after));
        let limit = Limit { events: limit, bytes: usize::MAX };
        let page = self.nodes[node].read(&log, after, limit).await.map_err(|e| e.to_string())?;
        let verdict = self.truth.of(&log, |history| check_page(history, after, limit, &page));
        verdict.map_err(|why| format!("after {after}: {why}: {page:?}"))
    }

    async fn bounds(&mut self, node: usize, topic: usize) -> Verdict {
        let log = self.log_of(topic);
        let bounds = self.nodes[node].bounds(&log).await.map_err(|e| e.to_string())?;
        let expected = self.truth.of(&log, |history| history.bounds());
        match bounds == expected {
            true => Ok(()),
            false => Err(format!("{bounds:?} instead of {expected:?}")),
        }
    }

    async fn open(
        &mut self,
        (node, slot): (usize, usize),
        topics: &[bool],
        patterns: &[bool],
        start: &Arrival,
    ) -> Verdict {
        let chosen = |(one, on): (&Topic, &bool)| on.then(|| one.clone());
        let topics = self.topics.iter().zip(topics).filter_map(chosen).collect();
        let patterns = WILD.iter().zip(patterns).filter(|(_, on)| **on);
        let patterns = patterns.filter_map(|(end, _)| Pattern::new(&format!("{SPACE}{end}")).ok());
        let parts = super::spaces().parts(topics, patterns.collect()).expect("all lie in it");
        let Some(first) = parts.first().map(|part| part.log.clone()) else { return Ok(()) };
        let origin = match *start {
            Arrival::Latest => Origin::Latest,
            Arrival::Seek(seek) => Origin::Seek(seek),
            Arrival::Since { entry, plus } => {
                let position = self.truth.of(&first, |history| history.any_position(entry));
                Origin::Seek(Seek::Since(position.ms + plus))
            }
            Arrival::Garbage => Origin::Resume("garbage".to_owned()),
        };
        let garbage = matches!(start, Arrival::Garbage);
        let log = Arc::clone(&self.nodes[node]);
        let reader = Reader::open_parts(log, parts, origin, &self.truth).await?;
        if garbage != (reader.outcome() == Outcome::Invalid) {
            return Err(format!("the outcome was {:?}", reader.outcome()));
        }
        self.readers.insert(slot, Seat { before: reader.ledgers().to_vec(), reader, last: None });
        Ok(())
    }

    /// Publishes to each topic once more, which ends those that can end, and reads until every reader has everything.
    async fn catch_up(&mut self) -> Verdict {
        for (index, topic) in self.topics.iter().enumerate() {
            let mark = if index < IN_SPACE { Mark::Last } else { Mark::Open };
            if !self.truth.of(&self.log_of(index), |history| history.is_ended()) {
                let last = self.truth.publish(&*self.nodes[0], topic, marked("last", mark), None);
                last.await.map_err(|error| error.to_string())?;
            }
        }
        self.age();
        for (slot, seat) in &mut self.readers {
            let mut steps = 0;
            let limit = Limit { events: 3, bytes: usize::MAX };
            let mut is_over = false;
            while !is_over {
                let step = seat.reader.next(limit, &self.truth).await?;
                is_over = match seat.reader.cursor().parts().any(|part| part.log.is_space()) {
                    true => seat.reader.is_caught_up(&self.truth),
                    false => matches!(step, Step::Finished),
                };
                steps += 1;
                if steps > CATCH_UP {
                    return Err(format!("reader {slot} does not come to an end"));
                }
            }
        }
        Ok(())
    }
}

impl Seat {
    async fn next(&mut self, limit: usize, truth: &Truth) -> Verdict {
        let limit = Limit { events: limit, bytes: usize::MAX };
        let before = self.reader.ledgers().to_vec();
        self.reader.pass_by(truth)?;
        if let Some(step) = self.reader.try_next(limit, truth).await? {
            if let Step::Events { events, .. } = &step
                && events.len() > limit.events.max(1)
            {
                return Err(format!("{} events are more than {limit:?}", events.len()));
            }
            (self.before, self.last) = (before, Some(step));
        }
        Ok(())
    }

    async fn reconnect(
        mut self,
        log: Arc<dyn Log>,
        cut: Option<usize>,
        truth: &Truth,
    ) -> Result<Self, String> {
        let mut wire = self.reader.cursor().wire();
        if let (Some(cut), Some(Step::Events { place, mut events })) = (cut, self.last) {
            // The client got the events up to one of them, and has the cursor of that event.
            events.truncate(cut % events.len() + 1);
            let last = events.last().expect("a step has events");
            wire = self.reader.cursor().wire_at(place, last.position());
            let name = self.reader.cursor().part(place).log;
            let step = Step::Events { place, events };
            truth.of(&name, |history| self.before[place].enter(&step, history))?;
            self.reader.roll_back(self.before);
        }
        let reader = self.reader.reconnect(log, wire).await;
        match reader.outcome() {
            Outcome::Exact | Outcome::Gap | Outcome::Reset => {
                Ok(Self { before: reader.ledgers().to_vec(), reader, last: None })
            }
            other => Err(format!("a true cursor was found to be {other:?}")),
        }
    }
}

/// Checks a page of `Log::read`, which unlike a tail's window has no event that the store has dropped.
fn check_page(history: &History, after: Position, limit: Limit, page: &Page) -> Verdict {
    let told = page.gap.map(|gap| (gap.reason, gap.missed, gap.resume.n));
    let got: Vec<_> = page.events.iter().map(crate::Event::position).collect();
    let here = after == Position::START || history.standing(after) == history.current();
    let readable: Vec<_> = history.readable().iter().map(|entry| entry.position).collect();
    let gone = history.gone(history.next_generation());
    let expected = match history.current() {
        None if after == Position::START => None,
        Some(_) if here && after.n >= gone => None,
        Some(_) if here => Some((Reason::Trimmed, Some(gone - after.n), gone)),
        None | Some(_) => Some((Reason::Reset, None, gone)),
    };
    if told != expected {
        return Err(format!("told {told:?} instead of {expected:?}"));
    }
    let rest = readable.iter().filter(|position| position.n > after.n).copied();
    let rest: Vec<_> = rest.take(if told.is_none() { limit.events.max(1) } else { 0 }).collect();
    match got == rest {
        true => Ok(()),
        false => Err(format!("read {got:?} instead of {rest:?}")),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
