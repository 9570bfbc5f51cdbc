//! A copier: reads a source, and appends each event together with its place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use event_log::{
    Advance, Append, AppendError, BreakReason, Key, Log, Mark, NewEvent, Receipt, Topic,
};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::copying::{Copying, OnError, OnGap};
use crate::guards::{Guard, Guards};
use crate::lead::{BEAT, Lead, Lost};
use crate::place::Place;
use crate::source::{Failure, Item, Source};
use crate::stats::{State, Stats};

/// A copier of one source, or of one part of it.
pub(crate) struct Copier {
    pub(crate) log: Arc<dyn Log>,
    /// The name of the source, and of its part.
    pub(crate) name: Key,
    pub(crate) kind: &'static str,
    /// The name of this process, unlike that of any other.
    pub(crate) node: String,
    pub(crate) source: Box<dyn Source>,
    pub(crate) copying: Copying,
    pub(crate) stats: Stats,
    /// Cancelled when this relay leaves.
    pub(crate) leaving: CancellationToken,
}

/// The reason why a copier does not read on.
#[derive(Debug)]
enum Halt {
    /// Another relay leads.
    NotLeading,
    /// The source has to be opened again, after this place.
    Again(Place),
    /// The connection to the source is gone.
    Failed(Failure),
    /// A rule of the operator stops the source.
    Stopped(String),
}

/// The end of a copier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A rule of the operator has stopped the source.
    Stopped,
    /// The source has come to its end.
    Ended,
    /// This relay leaves.
    Left,
}

/// The longest pause before a source is opened again.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The pause before a source that refuses is opened again.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);
/// The longest pause before an append is tried again.
const APPEND_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest wait for an answer of the log.
const LOG_MAX: Duration = Duration::from_secs(10);
/// The longest beginning of a refused record that is stored or logged, in bytes.
const EXCERPT_BYTES_MAX: usize = 4096;

impl Copier {
    /// Copies until this relay leaves, a rule of the operator stops the source, or the source ends.
    pub(crate) async fn run(mut self) -> End {
        let leaving = self.leaving.clone();
        loop {
            self.stats.enter(State::Standby);
            let mut lead = tokio::select! {
                lead = Lead::take(&self.log, &self.name, &self.node) => lead,
                () = leaving.cancelled() => return End::Left,
            };
            tracing::info!(source = self.name.as_str(), "this relay copies the source");
            let led = tokio::select! {
                led = self.lead(&mut lead) => led,
                () = leaving.cancelled() => Some((End::Left, State::Standby)),
            };
            if let Some((end, state)) = led {
                self.stats.enter(state);
                // Another relay takes over at once, or finds the same reason to stop.
                lead.give_back(self.state()).await;
                return end;
            }
        }
    }

    /// Copies while this relay leads; `None` if another one does.
    async fn lead(&mut self, lead: &mut Lead) -> Option<(End, State)> {
        let mut backoff = Backoff::at_most(PAUSE_MAX);
        let mut again = None;
        loop {
            self.stats.enter(State::Connecting);
            match self.copy(lead, again.take(), &mut backoff).await {
                Halt::NotLeading => return None,
                Halt::Again(place) => {
                    lead.checkpoint = Some(place.clone());
                    again = Some(place);
                }
                Halt::Failed(Failure::Ended) => return Some((End::Ended, State::Ended)),
                Halt::Failed(failure) => {
                    self.stats.failed(&failure.to_string());
                    let pause = match failure {
                        Failure::Refused(_) => REFUSED_PAUSE,
                        _ => backoff.next(),
                    };
                    let source = self.name.as_str();
                    tracing::warn!(source, %failure, ?pause, "a source is opened again");
                    if self.rest(lead, pause).await == Err(Lost::ToAnother) {
                        return None;
                    }
                }
                Halt::Stopped(reason) => {
                    self.stats.failed(&reason);
                    tracing::error!(source = self.name.as_str(), reason, "a source is stopped");
                    return Some((End::Stopped, State::Stopped));
                }
            }
            self.stats.reconnected();
        }
    }

    /// Waits, and keeps the lead meanwhile.
    async fn rest(&self, lead: &mut Lead, pause: Duration) -> Result<(), Lost> {
        let end = Instant::now() + pause;
        loop {
            if lead.beat(self.state()).await == Err(Lost::ToAnother) {
                return Err(Lost::ToAnother);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(BEAT)).await;
        }
    }

    /// Opens the source, and copies what comes.
    async fn copy(&mut self, lead: &mut Lead, again: Option<Place>, backoff: &mut Backoff) -> Halt {
        let after = match again {
            Some(place) => Some(place),
            None => match self.begin(lead).await {
                Ok(place) => place,
                Err(error) => return Halt::Failed(Failure::Away(error)),
            },
        };
        let mut reading = match self.source.open(after.as_ref()).await {
            Ok(reading) => reading,
            Err(failure) => return Halt::Failed(failure),
        };
        self.stats.enter(State::Copying);
        let topic = self.copying.topic.fixed();
        let mut guards = Guards::default();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                items = reading.next() => {
                    let items = match items {
                        Ok(items) => items,
                        Err(failure) => return Halt::Failed(failure),
                    };
                    let Some(place) = items.last().map(Item::place).cloned() else { continue };
                    if let Err(halt) = self.store(&mut guards, items).await {
                        return halt;
                    }
                    *backoff = Backoff::at_most(PAUSE_MAX);
                    lead.checkpoint = Some(place.clone());
                    let last = topic.as_ref().and_then(|topic| guards.of(topic).place);
                    lead.last = last.map(|last| last.order()).or(lead.last);
                    if let Err(failure) = reading.stored(&place).await {
                        return Halt::Failed(failure);
                    }
                }
                _ = beats.tick() => {
                    self.stats.behind(reading.lag());
                    match (lead.beat(self.state()).await, &lead.checkpoint) {
                        (Err(Lost::ToAnother), _) => return Halt::NotLeading,
                        (Ok(()), Some(place)) => reading.checkpointed(place),
                        (Ok(()), None) | (Err(Lost::Unknown(_)), _) => {}
                    }
                }
            }
        }
    }

    fn state(&self) -> String {
        let snapshot = self.stats.snapshot(self.name.as_str(), self.kind, &self.node);
        serde_json::to_string(&snapshot).expect("numbers and texts are JSON")
    }

    /// The place to begin after. A source with one topic begins at the bookmark beside its last event, which is exact; one
    /// with many at the checkpoint, which may be behind: what comes again is known by its place. If the checkpoint was made
    /// after that same last event, the source had nothing for the topic between the two, so the copy begins at the checkpoint.
    async fn begin(&self, lead: &mut Lead) -> Result<Option<Place>, String> {
        let Some(topic) = self.copying.topic.fixed() else { return Ok(lead.checkpoint.clone()) };
        let asked = timeout(LOG_MAX, self.log.bookmark(&topic, &self.name)).await;
        let found = asked.map_err(|_| "the log does not answer".to_owned())?;
        let found = found.map_err(|error| error.to_string())?;
        let found = found.and_then(|bookmark| Place::parse(bookmark.as_str()));
        if let Some(found) = found {
            let order = Some(found.order());
            if lead.last != order || lead.checkpoint.is_none() {
                (lead.last, lead.checkpoint) = (order, Some(found));
            }
        }
        Ok(lead.checkpoint.clone())
    }

    /// Stores items in their order, and returns when all are stored.
    async fn store(&self, guards: &mut Guards, items: Vec<Item>) -> Result<(), Halt> {
        let mut open = Vec::with_capacity(items.len());
        for item in items {
            match self.copy_of(item) {
                Ok(copy) => open.extend(copy),
                // The items before it are stored first.
                Err(reason) => {
                    self.append(guards, open).await?;
                    return Err(Halt::Stopped(reason));
                }
            }
        }
        self.append(guards, open).await
    }

    /// The event that stands for an item; `Ok(None)` if nothing does.
    fn copy_of(&self, item: Item) -> Result<Option<Copied>, String> {
        let (topic, event, place) = match item {
            Item::Passed(_) => return Ok(None),
            Item::Gap { missed, reason, place } => {
                self.stats.gap(missed);
                let source = self.name.as_str();
                tracing::warn!(source, missed, reason, %place, "a source has lost events");
                match &self.copying.on_gap {
                    OnGap::Stop => return Err(format!("events are missing: {reason}")),
                    OnGap::Tell(topic) => {
                        let mark = Mark::Broken(BreakReason::Missing);
                        (topic.clone(), NewEvent { mark, ..NewEvent::default() }, place)
                    }
                }
            }
            Item::Event { topic, event, place } => {
                let (bytes, max) = (event.data.len(), self.copying.event_bytes_max);
                if bytes > max {
                    let reason = format!("an event has {bytes} bytes; event-bytes-max is {max}");
                    return self.bad(&event.data, reason, place);
                }
                (topic, event, place)
            }
            Item::Bad { excerpt, reason, place } => return self.bad(&excerpt, reason, place),
        };
        Ok(Some(Copied { topic, event, place }))
    }

    fn bad(&self, excerpt: &str, reason: String, place: Place) -> Result<Option<Copied>, String> {
        let end = excerpt.floor_char_boundary(EXCERPT_BYTES_MAX);
        self.stats.refused();
        match &self.copying.on_error {
            OnError::Stop => Err(format!("{reason}, at {place}")),
            OnError::Skip => {
                tracing::warn!(source = self.name.as_str(), reason, %place, "a record is skipped");
                Ok(None)
            }
            OnError::DeadLetter(topic) => {
                let source = self.name.as_str();
                let letter = DeadLetter {
                    source,
                    reason,
                    place: place.to_string(),
                    excerpt: &excerpt[..end],
                };
                let data = serde_json::to_string(&letter).expect("texts are JSON").into();
                let event = NewEvent { data, ..NewEvent::default() };
                Ok(Some(Copied { topic: topic.clone(), event, place }))
            }
        }
    }

    /// Appends copies until each is in the log.
    async fn append(&self, guards: &mut Guards, mut open: Vec<Copied>) -> Result<(), Halt> {
        let mut backoff = Backoff::at_most(APPEND_PAUSE_MAX);
        loop {
            open.retain(|copy| {
                let known = guards.place(&copy.topic);
                let is_there = known.is_some_and(|known| self.source.has(known, &copy.place));
                if is_there {
                    self.stats.duplicate();
                }
                !is_there
            });
            if open.is_empty() {
                return Ok(());
            }
            let results = self.try_append(guards, &open).await;
            let overtaken = self.overtaken(&open, &results);
            let mut left = Vec::new();
            // Topics whose remaining copies of this round were refused because one before them was.
            let mut behind: HashSet<Topic> = HashSet::new();
            let mut is_away = None;
            for (copy, result) in open.into_iter().zip(results) {
                if behind.contains(&copy.topic) {
                    left.push(copy);
                    continue;
                }
                match result {
                    Ok(receipt) => {
                        if receipt.duplicate {
                            self.stats.duplicate();
                        } else {
                            self.stats.copied();
                        }
                        let place = Some(copy.place);
                        guards.set(&copy.topic, Guard { place, is_acknowledged: true });
                    }
                    Err(AppendError::Moved { found, .. }) => {
                        behind.insert(copy.topic.clone());
                        let place = found.as_ref().and_then(|found| Place::parse(found.as_str()));
                        // The log has forgotten a topic without a bookmark, as it does after a time without events.
                        let older =
                            place.as_ref().filter(|found| !self.source.has(found, &copy.place));
                        if let Some(older) = older
                            && guards.of(&copy.topic).is_acknowledged
                        {
                            // The log has lost what it had acknowledged; the source has it still.
                            return Err(Halt::Again(older.clone()));
                        }
                        guards.set(&copy.topic, Guard { place, is_acknowledged: false });
                        left.push(copy);
                    }
                    Err(AppendError::Unavailable(reason) | AppendError::Full(reason)) => {
                        behind.insert(copy.topic.clone());
                        is_away = Some(reason);
                        left.push(copy);
                    }
                    Err(AppendError::Ended { .. }) => {
                        behind.insert(copy.topic.clone());
                        let reason = format!("topic {} was ended", copy.topic);
                        let Copied { event, place, .. } = copy;
                        // The dead letter of a topic that has ended must not lead to itself.
                        match self.bad(&event.data, reason, place).map_err(Halt::Stopped)? {
                            Some(letter) if behind.contains(&letter.topic) => {
                                return Err(Halt::Stopped(format!("{} was ended", letter.topic)));
                            }
                            letter => left.extend(letter),
                        }
                    }
                    Err(error) => return Err(Halt::Stopped(error.to_string())),
                }
            }
            if let Some(place) = overtaken {
                return Err(Halt::Again(place));
            }
            if let Some(reason) = is_away {
                self.stats.failed(&reason);
                sleep(backoff.next()).await;
            }
            open = left;
        }
    }

    /// The place of another relay that has copied further into the only topic of this source, unless it is that of one of
    /// these copies. A source without numbers counts from where it was opened, and may have begun elsewhere for the other
    /// relay: then an equal number is not an equal event, so it is opened again at the place that the log has.
    fn overtaken(
        &self,
        copies: &[Copied],
        results: &[Result<Receipt, AppendError>],
    ) -> Option<Place> {
        let topic = self.copying.topic.fixed()?;
        let moved = copies.iter().zip(results).find_map(|(copy, result)| match result {
            Err(AppendError::Moved { found, .. }) if copy.topic == topic => {
                Some((copy, found.as_ref()?))
            }
            _ => None,
        });
        let (copy, found) = moved?;
        let found = Place::parse(found.as_str())?;
        let is_one_of_these = || copies.iter().any(|copy| copy.place == found);
        (found.order() >= copy.place.order() && !is_one_of_these()).then_some(found)
    }

    /// Appends copies, each of which follows the one of its topic before it.
    async fn try_append(
        &self,
        guards: &Guards,
        copies: &[Copied],
    ) -> Vec<Result<Receipt, AppendError>> {
        let mut last = HashMap::new();
        let appends = copies.iter().map(|Copied { topic, event, place }| {
            let from = last.remove(topic).unwrap_or_else(|| guards.of(topic).bookmark());
            let to = place.bookmark();
            last.insert(topic, Some(to.clone()));
            let advance = Some(Advance { source: self.name.clone(), from, to });
            Append { advance, ..Append::new(topic.clone(), event.clone()) }
        });
        let appends = appends.collect();
        let late = || Err(AppendError::Unavailable("no answer".to_owned()));
        let answered = timeout(LOG_MAX, self.log.append(appends)).await;
        answered.unwrap_or_else(|_| copies.iter().map(|_| late()).collect())
    }
}

/// An event on its way into the log.
#[derive(Debug, Clone)]
struct Copied {
    topic: Topic,
    event: NewEvent,
    place: Place,
}

/// The data of the event that stands for a record that cannot be one.
#[derive(Serialize)]
struct DeadLetter<'a> {
    source: &'a str,
    reason: String,
    place: String,
    excerpt: &'a str,
}

#[cfg(test)]
mod tests;
