//! A judge checks all that one client is told against the true history. A client's cursor may move for
//! five reasons only: a delivered event, a reported gap, the end of a topic, filtered-out events, and events of a space that
//! it does not select.

use std::collections::BTreeSet;
use std::sync::Arc;

use event_log::{Event, Mark, Position};
use serde_json::Value;

use super::cursor;
use super::deployment::Reads;
use super::history::{History, Loss, Place};
use super::wanted::{self, Wanted};
use super::world::World;

/// The judge of one client.
#[derive(Debug)]
pub(crate) struct Judge {
    world: Arc<World>,
    /// In the order of a cursor.
    parts: Vec<Wanted>,
    types: Option<&'static [&'static str]>,
    from_earliest: bool,
    /// The client's place in each log, once the client has a cursor.
    at: Option<Vec<At>>,
    /// The data of all delivered events, which no other event has.
    seen: BTreeSet<String>,
    /// The client was told that all topics have ended.
    pub(crate) finished: bool,
}

/// A client's position in a log.
#[derive(Debug, Clone, Copy)]
struct At {
    position: Position,
    place: Place,
}

pub(crate) type Verdict = Result<(), String>;

impl Judge {
    pub(crate) fn new(
        world: &Arc<World>,
        parts: Vec<Wanted>,
        types: Option<&'static [&'static str]>,
        from_earliest: bool,
    ) -> Self {
        let world = Arc::clone(world);
        Self {
            world,
            parts,
            types,
            from_earliest,
            at: None,
            seen: BTreeSet::new(),
            finished: false,
        }
    }

    /// Returns true if the client has all events.
    pub(crate) fn is_current(&self) -> bool {
        let mut places = self.parts.iter().zip(self.at.iter().flatten());
        self.at.is_some() && places.all(|(p, at)| self.world.store.head(&p.log) == at.position)
    }

    /// Formats the client's positions for a report.
    pub(crate) fn stands(&self) -> String {
        let at = self.at.iter().flatten().map(|at| at.position.to_string());
        let heads = self.parts.iter().map(|part| self.world.store.head(&part.log).to_string());
        format!("at {:?} of {:?}", at.collect::<Vec<_>>(), heads.collect::<Vec<_>>())
    }

    /// The client reconnects with its cursor. A cursor at the very start may be older than any era.
    pub(crate) fn reconnect(&mut self) {
        for at in self.at.iter_mut().flatten().filter(|at| at.position == Position::START) {
            at.place.era = 0;
        }
    }

    /// The client read an event of a stream.
    pub(crate) fn event(&mut self, event: &sse::Event) -> Verdict {
        let word = event.event_type().strip_prefix("tailwater.");
        if self.at.is_none() && word == Some("reconnect") && event.id.is_empty() {
            return Ok(());
        }
        if !event.own_id {
            return Err(format!("{event:?} has no id"));
        }
        let to = cursor::decode(&event.id, self.parts.len())?;
        let verdict = match word {
            Some(word) => self.control(word, &event.data, &to),
            None => self.data(event, &to),
        };
        verdict.map_err(|why| format!("{why}: {event:?}"))
    }

    fn control(&mut self, word: &str, data: &str, to: &[Position]) -> Verdict {
        let json: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        match word {
            "ready" if json["outcome"] == "invalid" => {
                Err("a valid cursor was reported as invalid".to_owned())
            }
            "ready" if self.at.is_none() => self.open(to),
            "gap" => {
                let topic = self.index(json["topic"].as_str())?;
                self.drift(to, Some(topic))?;
                self.gap(topic, &json, to[topic])
            }
            "end" => {
                let topic = self.index(json["topic"].as_str())?;
                self.drift(to, None)?;
                self.ended(topic)
            }
            "ready" | "cursor" | "reconnect" => self.drift(to, None),
            _ => Err("unknown control event".to_owned()),
        }
    }

    fn data(&mut self, event: &sse::Event, to: &[Position]) -> Verdict {
        let topic = self.part_of(event.data.split(' ').next())?;
        self.drift(to, Some(topic))?;
        self.deliver(topic, to[topic], event.event_type(), &event.data)
    }

    /// The client got its first cursor.
    pub(crate) fn open(&mut self, to: &[Position]) -> Verdict {
        let mut all = Vec::new();
        for (part, position) in self.parts.iter().zip(to) {
            let place = self.world.store.of(&part.log, |history| {
                let place = history.place(*position)?;
                let late = first_readable(history, 0, place, |event| part.has(event)).is_some();
                (!self.from_earliest || !late).then_some(place)
            });
            let place = place.ok_or_else(|| {
                format!("the client got the wrong first cursor {position} of {part:?}")
            })?;
            all.push(At { position: *position, place });
        }
        self.at = Some(all);
        Ok(())
    }

    pub(crate) fn has_cursor(&self) -> bool {
        self.at.is_some()
    }

    pub(crate) fn index(&self, name: Option<&str>) -> Result<usize, String> {
        let index = self.parts.iter().position(|part| Some(part.name()) == name);
        index.ok_or_else(|| format!("{name:?} is not a part of the client's subscription"))
    }

    /// Returns the part of the subscription in whose log a topic is.
    pub(crate) fn part_of(&self, topic: Option<&str>) -> Result<usize, String> {
        let log = topic.map(wanted::log_of);
        let index = self.parts.iter().position(|part| Some(&part.log) == log.as_ref());
        index.ok_or_else(|| format!("{topic:?} is not one of the client's topics"))
    }

    /// Returns true if the client's position in a log may pass events without a word.
    pub(crate) fn may_pass_by(&self, topic: usize) -> bool {
        !self.parts[topic].is_whole()
    }

    /// Returns true if an entry lies before a position, or there.
    pub(crate) fn precedes(&self, topic: usize, entry: Position, position: Position) -> bool {
        self.world.store.of(&self.parts[topic].log, |history| {
            let (Some(entry), Some(place)) = (history.find(entry), history.place(position)) else {
                return false;
            };
            entry.era <= place.era && history.leads_to(entry, place.era) && entry.n <= place.n
        })
    }

    /// Returns true if the client may have come to a position without a word.
    pub(crate) fn may_be_at(&self, topic: usize, position: Position) -> bool {
        self.drifted(topic, position).is_ok()
    }

    /// Checks all topics except `but`. Only events that the client does not want may have moved the cursor there.
    pub(crate) fn drift(&mut self, to: &[Position], but: Option<usize>) -> Verdict {
        let others = to.iter().enumerate().filter(|(topic, _)| Some(*topic) != but);
        others.into_iter().try_for_each(|(topic, position)| self.drift_in(topic, *position))
    }

    fn drift_in(&mut self, topic: usize, position: Position) -> Verdict {
        let place = self.drifted(topic, position)?;
        self.set(topic, position, place);
        Ok(())
    }

    fn drifted(&self, topic: usize, position: Position) -> Result<Place, String> {
        let At { position: before, place } = self.at()?[topic];
        if before == position {
            return Ok(place);
        }
        self.with(topic, |history, at| {
            let place = history.place(position).ok_or("the cursor stands nowhere")?;
            self.passes(topic, history, at, place)?;
            if place.n < at.place.n { Err("the cursor went back".to_owned()) } else { Ok(place) }
        })
    }

    /// The client got an event.
    pub(crate) fn deliver(
        &mut self,
        topic: usize,
        position: Position,
        kind: &str,
        data: &str,
    ) -> Verdict {
        let place = self.with(topic, |history, at| {
            let place = history.find(position).ok_or("nobody published it")?;
            if place.n <= at.place.n {
                return Err(format!(
                    "delivered twice or out of order: the client is at {}",
                    at.position
                ));
            }
            self.passes(topic, history, at, Place { n: place.n - 1, ..place })?;
            let stored = &history.entry(place.era, place.n).ok_or("nobody published it")?.event;
            let stored_kind = stored.kind().map_or("message", |kind| kind.as_str());
            if stored.data() != data || stored_kind != kind {
                return Err(format!("the published data was {:?}", stored.data()));
            }
            if !self.wants(topic, stored) {
                return Err("the client did not ask for the event".to_owned());
            }
            if self.world.delivers_committed() && self.seen.contains(data) && history.is_prepared()
            {
                return Err("the client has had it before a promotion".to_owned());
            }
            Ok(place)
        })?;
        self.seen.insert(data.to_owned());
        self.set(topic, position, place);
        Ok(())
    }

    /// The client was told of a gap.
    pub(crate) fn gap(&mut self, topic: usize, json: &Value, to: Position) -> Verdict {
        let requested = json["requested"].as_str().and_then(|text| text.parse().ok());
        self.drift_in(topic, requested.ok_or("a gap from nowhere")?)?;
        let place = self.with(topic, |history, at| {
            let missed = missed(json, self.parts[topic].is_whole())?;
            let place = history.place(to).ok_or("a gap to nowhere")?;
            let place = match json["reason"].as_str() {
                Some("trimmed") => self.trimmed(topic, history, at, missed, place)?,
                Some("rewound" | "reset") if missed.is_none() => {
                    let (place, loss) = self.lost(topic, history, at, to, place)?;
                    if loss == Loss::Promotion && self.world.delivers_committed() {
                        return Err("a promotion took back what the client had".to_owned());
                    }
                    place
                }
                _ => return Err("a gap of unknown kind".to_owned()),
            };
            Ok(place)
        });
        let place = place.map_err(|why| format!("{why}: {json}"))?;
        self.set(topic, to, place);
        Ok(())
    }

    /// The client was told that the topic has ended.
    pub(crate) fn ended(&self, topic: usize) -> Verdict {
        self.with(topic, |history, at| {
            let entry = history.entry(at.place.era, at.place.n);
            match entry.is_some_and(|entry| entry.event.mark() != Mark::Open) {
                true => Ok(()),
                false => Err("an end was reported of a topic that has not ended".to_owned()),
            }
        })
    }

    /// The client was told that all topics have ended.
    pub(crate) fn finish(&mut self) -> Verdict {
        (0..self.parts.len()).try_for_each(|topic| self.ended(topic))?;
        self.finished = true;
        Ok(())
    }

    /// Checks that the client wants no event between its position and a place.
    fn passes(&self, topic: usize, history: &History, at: At, to: Place) -> Verdict {
        if to.era < at.place.era || !history.leads_to(at.place, to.era) {
            return Err(format!("{} is of another history, and no gap was reported", at.position));
        }
        for n in at.place.n + 1..=to.n {
            let event = &history.entry(to.era, n).ok_or("a number that nobody gave out")?.event;
            if self.wants(topic, event) {
                return Err(format!("{event:?} {:?} was lost without a gap", event.data()));
            }
        }
        Ok(())
    }

    fn wants(&self, topic: usize, event: &Event) -> bool {
        let kind = event.kind().map_or("message", |kind| kind.as_str());
        let is_kind = self.types.is_none_or(|types| types.contains(&kind));
        is_kind && event.mark() != Mark::End && self.parts[topic].has(event)
    }

    /// Checks a gap of trimmed events. The gap must have their number, unless the store cannot know it. For a selection, that
    /// is the number of all events that are gone, and events that were passed by may follow.
    fn trimmed(
        &self,
        topic: usize,
        history: &History,
        at: At,
        missed: Option<u64>,
        to: Place,
    ) -> Result<Place, String> {
        let At { place: from, position } = at;
        if missed.is_none() && history.has_changed_hands_since(from) && to.n >= from.n {
            self.skips(topic, history, history.shared(from, to.era), to)?;
            return Ok(to);
        }
        if to.era < from.era || !history.leads_to(from, to.era) {
            return Err("a trimmed gap, but the client's last event is lost".to_owned());
        }
        let end = missed.map(|missed| from.n.saturating_add(missed));
        let is_counted = |end: &u64| match self.parts[topic].is_whole() {
            true => *end == to.n,
            false => *end <= to.n,
        };
        let Some(end) = end.filter(|end| *end > from.n && is_counted(end)) else {
            return Err(format!("{} are missing", to.n.wrapping_sub(from.n)));
        };
        let end = Place { n: end, ..to };
        // The count is that of the log, whoever wanted the events.
        no_readable(history, from.n, end, |_| true)?;
        self.passes(topic, history, At { position, place: end }, to)?;
        Ok(to)
    }

    /// Checks a gap that is reported because the store has lost events that the client had.
    fn lost(
        &self,
        topic: usize,
        history: &History,
        at: At,
        position: Position,
        to: Place,
    ) -> Result<(Place, Loss), String> {
        let At { place, .. } = at;
        // A position just before an entry is lost when that entry is lost.
        let witness = if history.find(at.position).is_some() { place.n } else { place.n + 1 };
        let lost_in = history.lost_in(Place { n: witness, ..place });
        let lost_in = lost_in.ok_or("lost, but what it had is still there")?;
        let loss = history.loss(lost_in);
        if position == Position::START {
            // A node that has not noticed the loss may still deliver the lost event to other clients.
            let era = if place.n == 0 { place.era } else { lost_in };
            return Ok((Place { era, n: 0 }, loss));
        }
        self.skips(topic, history, history.shared(place, to.era).min(place.n), to)?;
        Ok((to, loss))
    }

    /// Checks that a gap skips nothing that the client selects and that can be read.
    fn skips(&self, topic: usize, history: &History, from: u64, to: Place) -> Verdict {
        no_readable(history, from, to, |event| self.parts[topic].has(event))
    }

    fn at(&self) -> Result<&[At], String> {
        self.at.as_deref().ok_or_else(|| "the client has no cursor yet".to_owned())
    }

    fn set(&mut self, topic: usize, position: Position, place: Place) {
        if let Some(at) = &mut self.at {
            at[topic] = At { position, place };
        }
    }

    fn with<T>(
        &self,
        topic: usize,
        judge: impl FnOnce(&History, At) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut at = self.at()?[topic];
        if at.position == Position::START && self.world.deployment.reads != Reads::Primary {
            // A replica that has not heard of a wipe begins with the old log.
            at.place.era = 0;
        }
        self.world.store.of(&self.parts[topic].log, |history| judge(history, at))
    }
}

/// Returns the number of events in a gap: exact for a whole log, and an upper bound for a selection.
fn missed(gap: &Value, is_whole: bool) -> Result<Option<u64>, String> {
    let [exact, most] = ["missed", "missed_at_most"].map(|name| gap[name].as_u64());
    match (is_whole, exact, most) {
        (true, missed, None) | (false, None, missed) => Ok(missed),
        (true, ..) => Err("an upper bound, although all events count".to_owned()),
        (false, ..) => Err("an exact number, although the log cannot know it".to_owned()),
    }
}

fn no_readable(
    history: &History,
    from: u64,
    to: Place,
    counts: impl Fn(&Event) -> bool,
) -> Verdict {
    match first_readable(history, from, to, counts) {
        Some(n) => Err(format!("the gap skips {n}, which can be read")),
        None => Ok(()),
    }
}

/// Returns the first number of an event that can be read, after one number and up to a place.
fn first_readable(
    history: &History,
    from: u64,
    to: Place,
    counts: impl Fn(&Event) -> bool,
) -> Option<u64> {
    let is_one = |n: &u64| {
        let counts = history.entry(to.era, *n).is_some_and(|entry| counts(&entry.event));
        counts && history.is_readable(to.era, *n)
    };
    (from + 1..=to.n).find(is_one)
}
