//! The true history of a log: every acknowledged entry, and if it can still be read.
//!
//! A pure model that knows no log. A test records its operations here and compares the readers with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    Append, AppendError, Bounds, Key, Log, LogName, Mark, NewEvent, Position, Receipt, Selection,
    Topic,
};

/// The result of a check; an error is a message for the reader of a failed test.
pub type Verdict = Result<(), String>;

/// The histories of all logs of a test, shared by its publishers and readers.
#[derive(Debug, Clone, Default)]
pub struct Truth(Arc<Mutex<BTreeMap<LogName, History>>>);

/// The history of one log.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// One for each time that the log's numbers began at 1.
    generations: Vec<Entries>,
    /// Set if the store has forgotten the last generation.
    forgotten: bool,
}

/// The entries of one generation.
#[derive(Debug, Clone, Default)]
struct Entries {
    /// Entry `n` is at index `n - 1`.
    entries: Vec<Entry>,
    /// The number of entries, from the first, that can no longer be read.
    gone: usize,
}

/// An acknowledged append.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The position in the receipt.
    pub position: Position,
    /// Its topic.
    pub topic: Topic,
    /// The event as sent.
    pub event: NewEvent,
}

impl Truth {
    /// Calls `f` with the history of a log.
    pub fn of<T>(&self, log: &LogName, f: impl FnOnce(&mut History) -> T) -> T {
        let mut histories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(histories.entry(log.clone()).or_default())
    }

    /// Calls `f` with the history of each log.
    pub fn each(&self, f: impl FnMut(&mut History)) {
        let mut histories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histories.values_mut().for_each(f);
    }

    /// Publishes to the log and to the history, which must agree on the position of a new event.
    ///
    /// # Errors
    /// The error of the log.
    ///
    /// # Panics
    /// The position is not the next one.
    pub async fn publish(
        &self,
        log: &dyn Log,
        topic: &Topic,
        event: NewEvent,
        key: Option<Key>,
    ) -> Result<Receipt, AppendError> {
        let append = Append::new(topic.clone(), event.clone());
        let append = match key {
            Some(key) => append.keyed(key),
            None => append,
        };
        let receipts = log.append(vec![append]).await;
        let [receipt] = <[_; 1]>::try_from(receipts).expect("one answer for one append");
        let receipt = receipt?;
        if receipt.duplicate {
            return Ok(receipt);
        }
        if event.mark == Mark::Deleted {
            self.of(topic, History::forget);
        } else {
            let name = log.spaces().log_of(topic);
            let verdict = self.of(&name, |history| history.append(receipt.position, topic, event));
            verdict.expect("the position follows");
        }
        Ok(receipt)
    }
}

impl History {
    /// Records an acknowledged entry.
    ///
    /// # Errors
    /// The position is not the next one of the log.
    pub fn append(&mut self, position: Position, topic: &Topic, event: NewEvent) -> Verdict {
        if self.is_ended() && event.mark != Mark::Reopened {
            return Err(format!("{position} was acknowledged after the end"));
        }
        let last = self.generations.last().and_then(|g| g.entries.last()).map(|e| e.position);
        let begins = self.current().is_none();
        if begins {
            self.generations.push(Entries::default());
            self.forgotten = false;
        }
        let Some(generation) = self.generations.last_mut() else { unreachable!("just pushed") };
        let n = generation.entries.len() as u64 + 1;
        let rises =
            last.is_none_or(|last| position.ms > last.ms || (position.ms == last.ms && !begins));
        if position.n != n || !rises {
            return Err(format!("{position} was given where n = {n} follows {last:?}"));
        }
        generation.entries.push(Entry { position, topic: topic.clone(), event });
        Ok(())
    }

    /// Records that all but the newest `keep` entries were dropped.
    pub fn trim(&mut self, keep: usize) {
        if let Some(generation) = self.live_mut() {
            generation.gone = generation.gone.max(generation.entries.len().saturating_sub(keep));
        }
    }

    /// Records that entries older than `ms` were dropped.
    pub fn age(&mut self, ms: u64) {
        if let Some(generation) = self.live_mut() {
            let old = generation.entries.iter().take_while(|e| e.position.ms < ms).count();
            generation.gone = generation.gone.max(old);
        }
    }

    /// Records that the store lost everything, including the numbering.
    pub fn forget(&mut self) {
        self.forgotten = true;
    }

    /// The entries that can still be read, oldest first.
    #[must_use]
    pub fn readable(&self) -> &[Entry] {
        self.current().map_or(&[], |g| &self.generations[g].entries[self.generations[g].gone..])
    }

    /// The bounds that the log should return.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        let head = self.generations[self.current()?].entries.last()?.position;
        Some(Bounds {
            head,
            oldest: self.readable().first().map(|e| e.position),
            length: self.readable().len() as u64,
            ended: self.is_ended(),
            broken: self
                .readable()
                .last()
                .is_some_and(|last| matches!(last.event.mark, Mark::Broken(_))),
        })
    }

    /// Returns true if the topic was ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.current().is_some_and(|g| self.ends_after(g).is_some())
    }

    /// Returns true if one position directly precedes the other in the same generation.
    #[must_use]
    pub fn are_neighbours(&self, one: Position, next: Position) -> bool {
        match self.find(next) {
            Some((generation, _)) if next.n == 1 => {
                // Only the start precedes the first entry.
                one == Position::START && self.current() == Some(generation)
            }
            Some((generation, _)) => {
                next.n == one.n + 1 && self.find(one).is_some_and(|(of, _)| of == generation)
            }
            None => false,
        }
    }

    /// A position that was once given out, selected by a number, or the start if there is none.
    pub(super) fn any_position(&self, choice: usize) -> Position {
        let all = self.generations.iter().flat_map(|generation| &generation.entries);
        let count =
            self.generations.iter().map(|generation| generation.entries.len()).sum::<usize>();
        let index = choice % (count + 1);
        index.checked_sub(1).and_then(|i| all.map(|e| e.position).nth(i)).unwrap_or_default()
    }

    /// Where the store stands now; before anything, where it will begin.
    pub(super) fn next_generation(&self) -> usize {
        self.current().unwrap_or(self.generations.len())
    }

    /// The generation in the store, if there is one.
    pub(super) fn current(&self) -> Option<usize> {
        self.generations.len().checked_sub(1).filter(|_| !self.forgotten)
    }

    /// The number of entries of a generation that can no longer be read.
    pub(super) fn gone(&self, generation: usize) -> u64 {
        match self.generations.get(generation) {
            Some(g) if self.current() == Some(generation) => g.gone as u64,
            Some(g) => g.entries.len() as u64,
            None => 0,
        }
    }

    /// The entry at a position, with its generation.
    pub(super) fn find(&self, position: Position) -> Option<(usize, &Entry)> {
        let index = usize::try_from(position.n.checked_sub(1)?).ok()?;
        let entries = self.generations.iter().map(|g| g.entries.get(index)).enumerate();
        entries
            .filter_map(|(g, entry)| Some((g, entry?)))
            .find(|(_, entry)| entry.position == position)
    }

    /// The generation of a reader at this position, which is an entry or the start before one.
    pub(super) fn standing(&self, position: Position) -> Option<usize> {
        let next = Position::new(position.ms, position.n.checked_add(1)?);
        self.find(position).or_else(|| self.find(next)).map(|(g, _)| g)
    }

    /// The number after which a generation has no event, only perhaps an entry that marks the end.
    pub(super) fn ends_after(&self, generation: usize) -> Option<u64> {
        let last = self.generations.get(generation)?.entries.last()?;
        match last.event.mark {
            Mark::Last => Some(last.position.n),
            Mark::End => Some(last.position.n - 1),
            _ => None,
        }
    }

    /// Returns true if a reader that was told of number `n`, and of all before, stands at an end, even if the topic
    /// was opened again since.
    pub(super) fn is_end(&self, generation: usize, n: u64) -> bool {
        let mark = |n: u64| {
            let index = usize::try_from(n.checked_sub(1)?).ok()?;
            Some(self.generations.get(generation)?.entries.get(index)?.event.mark)
        };
        mark(n).is_some_and(Mark::ends) || mark(n + 1) == Some(Mark::End)
    }

    /// Returns true if nothing between two numbers is told to a reader of a selection: only ends, their repeals, and what
    /// is not selected.
    pub(super) fn is_silent(
        &self,
        (generation, selection): (usize, Option<&Selection>),
        from: u64,
        to: u64,
    ) -> bool {
        let Some(entries) = self.generations.get(generation) else { return false };
        let between = entries.entries.iter().filter(|e| from < e.position.n && e.position.n < to);
        between.into_iter().all(|entry| {
            let also = entry.event.extra.iter().flat_map(|extra| &extra.also);
            let mut topics = std::iter::once(&entry.topic).chain(also);
            let is_wanted = selection.is_none_or(|s| topics.any(|topic| s.wants(topic)));
            !is_wanted || matches!(entry.event.mark, Mark::End | Mark::Reopened)
        })
    }

    /// The generation and the number of the first entry after `n` that opens the topic again. A reader that has seen
    /// no number may have met a later generation.
    pub(super) fn reopened_after(&self, generation: usize, n: u64) -> Option<(usize, u64)> {
        let last = if n == 0 { self.generations.len() } else { generation + 1 };
        (generation..last).find_map(|g| {
            let mut entries = self.generations.get(g)?.entries.iter();
            let next = entries.find(|e| e.position.n > n && e.event.mark == Mark::Reopened)?;
            Some((g, next.position.n))
        })
    }

    /// Returns true if a generation, from this one on, consists of its end only.
    pub(super) fn has_bare_end_since(&self, generation: usize) -> bool {
        (generation..self.generations.len()).any(|g| self.ends_after(g) == Some(0))
    }

    /// Returns true if a reader of a selection is not to be told of a number.
    pub(super) fn is_silent_at(&self, at: (usize, Option<&Selection>), n: u64) -> bool {
        self.is_silent(at, n.saturating_sub(1), n + 1)
    }

    /// Returns true if a reader of a selection that was told of number `n` was told of everything.
    pub(super) fn is_all(&self, at: (usize, Option<&Selection>), n: u64) -> bool {
        match self.current() {
            // A reader that has seen nothing may have met no generation.
            Some(current) => {
                (current == at.0 || n == 0) && self.is_silent((current, at.1), n, u64::MAX)
            }
            None => true,
        }
    }

    fn live_mut(&mut self) -> Option<&mut Entries> {
        let current = self.current()?;
        self.generations.get_mut(current)
    }
}
