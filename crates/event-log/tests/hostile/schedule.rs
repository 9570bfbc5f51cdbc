//! One seeded run: a publisher, and readers on hostile nodes.
//!
//! A node serves one reader, since tokio wakes the readers of one tail in a random order. With one reader,
//! a seed determines every step.

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use event_log::conformance::dice::Dice;
use event_log::conformance::ledger::Ledger;
use event_log::conformance::reader::Reader;
use event_log::{
    Limit, Log, Mark, MemoryLog, NewEvent, Origin, Part, Pattern, Retention, Seek, Spaces, Step,
    Topic,
};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::bug::Bug;
use super::node::{Node, Store, lock};

const READERS: u64 = 3;
/// Topics with a log of their own.
const ALONE: [&str; 2] = ["t0", "t1"];
const SPACE: &str = "s/";
/// Topics in the space. Most readers want one of them.
pub(crate) const IN_SPACE: [&str; 3] = ["s/a", "s/b", "s/c"];
const PATTERNS: [&str; 2] = ["s/*", "s/**"];
const EVENTS: u64 = 60;
/// The longest run. A reader that still waits after dozens of audits waits for ever.
const PATIENCE: Duration = Duration::from_mins(10);

/// The wait of a reader of topics that do not end: several audits.
const ENDLESS: Duration = Duration::from_secs(30);

/// The steps of a run, one a line.
pub(crate) type Trace = Vec<String>;

/// Runs a seed on a paused clock. The error names the reader and the wrong step.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Result<Trace, String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let waited = timeout(PATIENCE, schedule(seed, bug)).await;
        waited.unwrap_or_else(|_| Err("a reader waits for ever".to_owned()))
    })
}

async fn schedule(seed: u64, bug: Option<Bug>) -> Result<Trace, String> {
    let spaces = Spaces::new([SPACE]).expect("a prefix");
    let log = MemoryLog::with_spaces(Retention::default(), spaces.clone());
    let store = Arc::new(Store::new(log, bug));
    let named = |name: &&str| Topic::new(name).expect("a name");
    let topics: Vec<_> = ALONE.iter().map(named).collect();
    let in_space: Vec<_> = IN_SPACE.iter().map(named).collect();
    let trace = Arc::new(Mutex::new(Trace::new()));
    let mut nodes = Vec::new();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..READERS {
        let mut dice = Dice::new(seed * 31 + number);
        let own: Vec<_> =
            (0..2).map(|_| Arc::new(Node::new(Arc::clone(&store), dice.below(u64::MAX)))).collect();
        nodes.extend(own.iter().cloned());
        let mut of = match dice.below(4) {
            0 => topics.clone(),
            1 => vec![],
            topic => vec![topics[usize::from(topic == 2)].clone()],
        };
        let mut patterns = Vec::new();
        match dice.below(if of.is_empty() { 3 } else { 5 }) {
            0 => of.push(dice.pick(&in_space).clone()),
            1 => of.extend(in_space[..2].iter().cloned()),
            2 => {
                let pattern: &&str = dice.pick(&PATTERNS);
                patterns.push(Pattern::new(pattern).expect("a pattern"));
            }
            _ => {}
        }
        let of = spaces.parts(of, patterns).expect("all patterns lie in it");
        let trace = Arc::clone(&trace);
        let client = Client { number, dice, nodes: own, store: Arc::clone(&store), trace, began };
        tasks.spawn(client.run(of));
    }
    let mut dice = Dice::new(seed);
    let background = Dice::new(seed + 1);
    let ticking = tokio::spawn(tick(nodes, background));
    tasks.spawn(async move {
        for _ in 0..EVENTS {
            sleep(Duration::from_millis(dice.below(400))).await;
            let some = if dice.chance(60) { &topics } else { &in_space };
            let topic = dice.pick(some);
            match dice.below(100) {
                0..3 => store.flush(),
                3..6 => {
                    let log = store.log.spaces().log_of(topic);
                    store.trim(&log, usize::try_from(dice.below(4)).expect("small"));
                }
                _ => store.publish(topic, event(Mark::Open)).await,
            }
        }
        for topic in &topics {
            store.publish(topic, event(*dice.pick(&[Mark::Last, Mark::End]))).await;
        }
        for topic in &in_space {
            store.publish(topic, event(Mark::Open)).await;
        }
        lock(&store.is_over).clone_from(&true);
        Ok(())
    });
    let mut verdict = Ok(());
    while let Some(ended) = tasks.join_next().await {
        verdict = verdict.and(ended.unwrap_or_else(|error| match error.try_into_panic() {
            // A failed assertion of the cursor reports a planted bug as well.
            Ok(panic) if bug.is_none() => resume_unwind(panic),
            _ => Err("a panic".to_owned()),
        }));
    }
    ticking.abort();
    let trace = lock(&trace).clone();
    verdict.map_err(|why: String| format!("{why}, after\n{}", trace.join("\n")))?;
    Ok(trace)
}

async fn tick(nodes: Vec<Arc<Node>>, mut dice: Dice) {
    loop {
        sleep(Duration::from_millis(1 + dice.below(300))).await;
        nodes.iter().for_each(|node| node.tick());
    }
}

fn event(mark: Mark) -> NewEvent {
    NewEvent { data: "x".into(), mark, ..NewEvent::default() }
}

/// A reader that cancels its waits, is cut off and reconnects, until it has everything.
struct Client {
    number: u64,
    dice: Dice,
    nodes: Vec<Arc<Node>>,
    store: Arc<Store>,
    trace: Arc<Mutex<Trace>>,
    began: Instant,
}

impl Client {
    async fn run(mut self, parts: Vec<Part>) -> Result<(), String> {
        let truth = self.store.truth.clone();
        sleep(Duration::from_millis(self.dice.below(5000))).await;
        let seeks = [Seek::Earliest, Seek::Last(3), Seek::Last(0)].map(Origin::Seek);
        let origin =
            if self.dice.chance(50) { Origin::Latest } else { self.dice.pick(&seeks).clone() };
        let mut reader = Reader::open_parts(self.node(), parts, origin, &truth).await?;
        self.note(format_args!("opened {:?}", reader.outcome()));
        loop {
            // Topics in a space have no end.
            let is_endless = reader.cursor().parts().any(|part| part.log.is_space());
            if is_endless && *lock(&self.store.is_over) && reader.is_caught_up(&truth) {
                return Ok(());
            }
            if self.dice.chance(20) {
                reader.pass_by(&truth).map_err(|why| format!("reader {}: {why}", self.number))?;
            }
            let before = reader.ledgers().to_vec();
            let Some(step) = self.next(&mut reader, is_endless).await else { continue };
            self.note(format_args!("{}", summary(&step)));
            if self.store.bug == Some(Bug::LosesSteps) && self.dice.chance(10) {
                let wire = reader.cursor().wire();
                reader = reader.reconnect(self.node(), wire).await;
                continue;
            }
            reader.enter(&step, &truth).map_err(|why| format!("reader {}: {why}", self.number))?;
            if matches!(step, Step::Finished) {
                return Ok(());
            }
            // A slow reader falls behind the window of its tail.
            if self.dice.chance(10) {
                sleep(Duration::from_millis(self.dice.below(3000))).await;
            }
            if self.dice.chance(10) {
                reader = self.cut_off(reader, before, step).await?;
            }
        }
    }

    fn node(&mut self) -> Arc<dyn Log> {
        Arc::clone(self.dice.pick(&self.nodes)) as Arc<dyn Log>
    }

    /// Waits for the next step; `None` if the wait was cancelled.
    async fn next(&mut self, reader: &mut Reader, is_endless: bool) -> Option<Step> {
        let events = usize::try_from(1 + self.dice.below(5)).expect("small");
        let limit = Limit { events, bytes: usize::MAX };
        let next = pin!(reader.cursor_mut().next(limit));
        match self.dice.below(3) {
            // Such a reader looks again whether it has everything.
            0 if is_endless => timeout(ENDLESS, next).await.ok(),
            0 => Some(next.await),
            1 => timeout(Duration::from_millis(self.dice.below(2000)), next).await.ok(),
            _ => {
                let step = poll_at_most(next, self.dice.below(4)).await;
                // Time must pass in between, or nothing would ever happen.
                sleep(Duration::from_millis(1 + self.dice.below(50))).await;
                step
            }
        }
    }

    /// Breaks the connection after an event of the step. The client reconnects with the cursor of that
    /// event.
    async fn cut_off(
        &mut self,
        mut reader: Reader,
        mut before: Vec<Ledger>,
        step: Step,
    ) -> Result<Reader, String> {
        let mut wire = reader.cursor().wire();
        if let Step::Events { place, mut events } = step {
            let got = 1 + self.dice.below(events.len() as u64);
            events.truncate(usize::try_from(got).expect("small"));
            let last = events.last().expect("a step has events").clone();
            if self.store.bug == Some(Bug::RepeatsSteps) {
                wire = reader.cursor().wire_at(place, events[0].position().before());
            } else {
                wire = reader.cursor().wire_at(place, last.position());
                let log = reader.cursor().part(place).log;
                let part = Step::Events { place, events };
                self.store.truth.of(&log, |h| before[place].enter(&part, h))?;
                reader.roll_back(before);
            }
        }
        let reader = reader.reconnect(self.node(), wire).await;
        self.note(format_args!("came again {:?}", reader.outcome()));
        Ok(reader)
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut trace = lock(&self.trace);
        let line =
            format!("{:>6} reader {}: {what}", self.began.elapsed().as_millis(), self.number);
        trace.push(line);
    }
}

fn summary(step: &Step) -> String {
    match step {
        Step::Events { place, events } => {
            let numbers: Vec<_> = events.iter().map(|event| event.position().n).collect();
            format!("place {place} events {numbers:?}")
        }
        Step::Gap { place, gap } => {
            format!("place {place} {:?} {:?} to {}", gap.reason, gap.missed, gap.resume.n)
        }
        Step::Broken { place, entry, .. } => format!("place {place} broken at {entry:?}"),
        Step::Reopened { place } => format!("place {place} reopened"),
        Step::End { place } => format!("place {place} end"),
        Step::Finished => "finished".to_owned(),
    }
}

async fn poll_at_most<F: Future>(
    mut future: std::pin::Pin<&mut F>,
    polls: u64,
) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(|context| {
        let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = fewer;
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            context.waker().wake_by_ref();
        }
        polled.map(Some)
    })
    .await
}
