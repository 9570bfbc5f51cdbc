//! A judge checks all that one client is told against the true history. A client's cursor may move for
//! four reasons only: a delivered event, a reported gap, the end of a topic, and filtered-out events.

use std::collections::BTreeSet;
use std::sync::Arc;

use event_log::{Mark, Position, Topic};
use serde_json::Value;

use super::cursor;
use super::deployment::Reads;
use super::history::{History, Loss, Place};
use super::world::World;

/// The judge of one client.
#[derive(Debug)]
pub(crate) struct Judge {
    world: Arc<World>,
    /// Sorted.
    topics: Vec<Topic>,
    types: Option<&'static [&'static str]>,
    from_earliest: bool,
    /// The client's place in each topic, once the client has a cursor.
    at: Option<Vec<At>>,
    /// The data of all delivered events, which no other event has.
    seen: BTreeSet<String>,
    /// The client was told that all topics have ended.
    pub(crate) finished: bool,
}

/// A client's position in a topic.
#[derive(Debug, Clone, Copy)]
struct At {
    position: Position,
    place: Place,
}

pub(crate) type Verdict = Result<(), String>;

impl Judge {
    pub(crate) fn new(
        world: &Arc<World>,
        topics: Vec<Topic>,
        types: Option<&'static [&'static str]>,
        from_earliest: bool,
    ) -> Self {
        let world = Arc::clone(world);
        Self {
            world,
            topics,
            types,
            from_earliest,
            at: None,
            seen: BTreeSet::new(),
            finished: false,
        }
    }

    /// Returns true if the client has all events.
    pub(crate) fn is_current(&self) -> bool {
        let mut places = self.topics.iter().zip(self.at.iter().flatten());
        self.at.is_some() && places.all(|(t, at)| self.world.store.head(t) == at.position)
    }

    /// Formats the client's positions for a report.
    pub(crate) fn stands(&self) -> String {
        let at = self.at.iter().flatten().map(|at| at.position.to_string());
        let heads = self.topics.iter().map(|topic| self.world.store.head(topic).to_string());
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
        let to = cursor::decode(&event.id, self.topics.len())?;
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
        let topic = self.index(event.data.split(' ').next())?;
        self.drift(to, Some(topic))?;
        self.deliver(topic, to[topic], event.event_type(), &event.data)
    }

    /// The client got its first cursor.
    pub(crate) fn open(&mut self, to: &[Position]) -> Verdict {
        let mut all = Vec::new();
        for (topic, position) in self.topics.iter().zip(to) {
            let place = self.world.store.of(topic, |history| {
                let place = history.place(*position)?;
                let late = (1..=place.n).any(|n| history.is_readable(place.era, n));
                (!self.from_earliest || !late).then_some(place)
            });
            let place = place.ok_or_else(|| {
                format!("the client got the wrong first cursor {position} of {topic}")
            })?;
            all.push(At { position: *position, place });
        }
        self.at = Some(all);
        Ok(())
    }

    pub(crate) fn has_cursor(&self) -> bool {
        self.at.is_some()
    }

    pub(crate) fn position(&self, topic: usize) -> Position {
        self.at.as_ref().map_or(Position::START, |at| at[topic].position)
    }

    pub(crate) fn index(&self, name: Option<&str>) -> Result<usize, String> {
        let index = self.topics.iter().position(|topic| Some(topic.as_str()) == name);
        index.ok_or_else(|| format!("{name:?} is not one of the client's topics"))
    }

    /// Checks all topics except `but`. Only events that the filter excludes may have moved the cursor there.
    pub(crate) fn drift(&mut self, to: &[Position], but: Option<usize>) -> Verdict {
        let others = to.iter().enumerate().filter(|(topic, _)| Some(*topic) != but);
        others.into_iter().try_for_each(|(topic, position)| self.drift_in(topic, *position))
    }

    fn drift_in(&mut self, topic: usize, position: Position) -> Verdict {
        if self.at()?[topic].position == position {
            return Ok(());
        }
        let place = self.with(topic, |history, at| {
            let place = history.place(position).ok_or("the cursor stands nowhere")?;
            self.passes(history, at, place.era, place.n)?;
            if place.n < at.place.n { Err("the cursor went back".to_owned()) } else { Ok(place) }
        })?;
        self.set(topic, position, place);
        Ok(())
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
            self.passes(history, at, place.era, place.n - 1)?;
            let stored = &history.entry(place.era, place.n).ok_or("nobody published it")?.event;
            let stored_kind = stored.kind().map_or("message", |kind| kind.as_str());
            if stored.data() != data || stored_kind != kind {
                return Err(format!("the published data was {:?}", stored.data()));
            }
            if !self.wants(kind) || stored.mark() == Mark::End {
                return Err("the filter excludes the event".to_owned());
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
            let missed = json["missed"].as_u64();
            let place = history.place(to).ok_or("a gap to nowhere")?;
            let place = match json["reason"].as_str() {
                Some("trimmed") => trimmed(history, at.place, missed, place)?,
                Some("rewound" | "reset") if missed.is_none() => {
                    let (place, loss) = lost(history, at, to, place)?;
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
        (0..self.topics.len()).try_for_each(|topic| self.ended(topic))?;
        self.finished = true;
        Ok(())
    }

    /// Checks that the client wants no event between its position and number `n` of an era.
    fn passes(&self, history: &History, at: At, era: usize, n: u64) -> Verdict {
        if era < at.place.era || !history.leads_to(at.place, era) {
            return Err(format!("{} is of another history, and no gap was reported", at.position));
        }
        for n in at.place.n + 1..=n {
            let event = &history.entry(era, n).ok_or("a number that nobody gave out")?.event;
            let kind = event.kind().map_or("message", |kind| kind.as_str());
            if self.wants(kind) && event.mark() != Mark::End {
                return Err(format!("{event:?} {:?} was lost without a gap", event.data()));
            }
        }
        Ok(())
    }

    fn wants(&self, kind: &str) -> bool {
        self.types.is_none_or(|types| types.contains(&kind))
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
        self.world.store.of(&self.topics[topic], |history| judge(history, at))
    }
}

/// Checks a gap of trimmed events. The gap must have their number, unless the store cannot know it.
fn trimmed(history: &History, at: Place, missed: Option<u64>, to: Place) -> Result<Place, String> {
    if missed.is_none() && history.has_changed_hands_since(at) && to.n >= at.n {
        readable(history, history.shared(at, to.era), to)?;
        return Ok(to);
    }
    if to.era < at.era || !history.leads_to(at, to.era) {
        return Err("a trimmed gap, but the client's last event is lost".to_owned());
    }
    if missed != Some(to.n.wrapping_sub(at.n)) || to.n <= at.n {
        return Err(format!("{} are missing", to.n.wrapping_sub(at.n)));
    }
    readable(history, at.n, to)?;
    Ok(to)
}

/// Checks a gap that is reported because the store has lost events that the client had.
fn lost(history: &History, at: At, position: Position, to: Place) -> Result<(Place, Loss), String> {
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
    readable(history, history.shared(place, to.era).min(place.n), to)?;
    Ok((to, loss))
}

fn readable(history: &History, from: u64, to: Place) -> Verdict {
    match (from + 1..=to.n).find(|n| history.is_readable(to.era, *n)) {
        Some(n) => Err(format!("the gap skips {n}, which can be read")),
        None => Ok(()),
    }
}
