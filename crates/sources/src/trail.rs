//! The trail of a stream: the events that were copied last, by which they are known when they come again.
//!
//! A stream has no numbers, and ids that may be missing, repeated or inherited. So a place counts events, and its text
//! has the last ids and a print of each of the last events. A stream that broke off is asked for from the id *before* the
//! last one: its server then sends the last event again. This proves that it does send again, and where it does; if
//! the event does not come, events may be missing.

use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::print::{Print, Prints};

/// The events of a stream that were copied last, and the number of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    copied: u64,
    /// Steps since the last event that are none: ids alone, gaps.
    passed: u64,
    memo: Memo,
}

/// The text of a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memo {
    /// The last id; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    /// The id before it, if it is known and short.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    before: String,
    /// Events after the first one that has the last id.
    #[serde(default, skip_serializing_if = "is_default")]
    under: u64,
    /// Events after the first one that has the id before.
    #[serde(default, skip_serializing_if = "is_default")]
    since: u64,
    /// The prints of the last events.
    #[serde(default, skip_serializing_if = "Prints::is_empty")]
    prints: Prints,
    /// A gap was told, and no event has come since.
    #[serde(default, skip_serializing_if = "is_default")]
    gap: bool,
    /// The server tells of gaps itself, so nothing has to be proven.
    #[serde(default, skip_serializing_if = "is_default")]
    exact: bool,
    /// The stream has come to its end.
    #[serde(default, skip_serializing_if = "is_default")]
    ended: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Most prints that a place holds. After more events without an id, a stream cannot be continued.
const PRINTS_MAX: u64 = 128;
/// Prints that a place holds of earlier events: a server may send more again than it was asked for.
const PRINTS_KEPT: u64 = 32;
/// The longest id of a stream, in bytes as JSON.
const ID_MAX: usize = 2000;
/// The longest id of a server that tells of gaps itself, in bytes as JSON: those of many topics are long.
const EXACT_ID_MAX: usize = 3500;
/// The longest id that is kept beside the last one, in bytes as JSON.
const BEFORE_MAX: usize = 512;

/// The size of an id in the text of a place.
fn size(id: &str) -> usize {
    id.len() + id.matches(['"', '\\', '\t']).count()
}

/// The way to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The id that is sent.
    pub(crate) id: String,
    /// The last events, which may come again.
    pub(crate) again: Again,
}

/// The beginning of a connection, in which events may come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Again {
    prints: Vec<Print>,
    /// The places before which the events that have come again may end, of those that look alike; `None` before the first.
    ends: Option<Vec<usize>>,
    /// The last event must come again, or some may be missing.
    must_prove: bool,
}

/// An event at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was copied already.
    Before,
    /// It was copied already, and is the last such one.
    Last,
    /// It is new, and so are all that follow. With `is_unproven` some may be missing before it: the last event that was
    /// copied has not come again.
    New { is_unproven: bool },
}

impl Trail {
    /// The trail up to a place. A text of another kind, as after a change of the configuration, has no id.
    pub(crate) fn up_to(place: Option<&Place>) -> Self {
        let Some(place) = place else { return Self::default() };
        let memo = serde_json::from_str(&place.text).unwrap_or_default();
        Self { copied: place.major, passed: place.minor, memo }
    }

    /// The place after everything so far.
    pub(crate) fn place(&self) -> Place {
        let text = serde_json::to_string(&self.memo).expect("texts and numbers are JSON");
        Place { era: 0, major: self.copied, minor: self.passed, text }
    }

    /// The number of events so far.
    pub(crate) const fn copied(&self) -> u64 {
        self.copied
    }

    /// The last id; empty if there is none.
    pub(crate) fn id(&self) -> &str {
        &self.memo.id
    }

    /// Returns true if the stream has come to its end.
    pub(crate) const fn has_ended(&self) -> bool {
        self.memo.ended
    }

    /// Returns true if a gap was told and no event has come since.
    pub(crate) const fn has_told(&self) -> bool {
        self.memo.gap
    }

    /// The way to go on; `None` if the stream cannot be continued.
    pub(crate) fn resume(&self) -> Option<Resume> {
        let memo = &self.memo;
        let id = if !memo.before.is_empty() && memo.since <= PRINTS_MAX {
            &memo.before
        } else if !memo.id.is_empty() && memo.under <= PRINTS_MAX {
            &memo.id
        } else {
            return None;
        };
        let prints = memo.prints.iter().collect();
        let again = Again { prints, ends: None, must_prove: !memo.exact };
        Some(Resume { id: id.clone(), again })
    }

    /// Checks an id.
    ///
    /// # Errors
    /// It cannot be sent back, with the reason.
    pub(crate) fn check_id(&self, id: &str) -> Result<(), String> {
        let (size, max) = (size(id), if self.memo.exact { EXACT_ID_MAX } else { ID_MAX });
        if size > max {
            return Err(format!("an id has {size} bytes as JSON; the limit is {max}"));
        }
        match HeaderValue::from_bytes(id.as_bytes()) {
            Ok(_) => Ok(()),
            Err(_) => Err("an id has control characters, so it cannot be sent back".to_owned()),
        }
    }

    /// Adds an event. `id` is its own or the one that it has inherited; it was checked.
    pub(crate) fn copy(&mut self, id: &str, is_own: bool, print: Print) {
        let under = self.memo.under;
        if id == self.memo.id {
            self.memo.since += 1;
            self.memo.under += 1;
        } else {
            self.turn(id);
            self.memo.since = under + 1;
            self.memo.under = u64::from(!is_own);
        }
        self.copied += 1;
        self.passed = 0;
        self.memo.gap = false;
        if self.memo.exact {
            return;
        }
        let due = if self.memo.before.is_empty() { self.memo.under } else { self.memo.since };
        let kept = if self.memo.id.is_empty() { 0 } else { due.clamp(PRINTS_KEPT, PRINTS_MAX) };
        self.memo.prints.add(print, kept);
    }

    /// Notes an id that came without an event.
    pub(crate) fn pass(&mut self, id: &str) {
        if id != self.memo.id {
            self.memo.since = self.memo.under;
            self.turn(id);
            self.memo.under = 0;
        }
        self.passed += 1;
    }

    /// Notes a step that is neither an event nor an id.
    pub(crate) const fn step(&mut self) {
        self.passed += 1;
    }

    /// Notes that events may be missing here.
    pub(crate) const fn miss(&mut self) {
        self.passed += 1;
        self.memo.gap = true;
    }

    /// Returns true if the server tells of gaps itself.
    pub(crate) const fn is_exact(&self) -> bool {
        self.memo.exact
    }

    /// Notes whether the server tells of gaps itself.
    pub(crate) fn set_exact(&mut self, is_exact: bool) {
        self.memo.exact = is_exact;
        if is_exact {
            self.memo.before.clear();
            self.memo.prints = Prints::default();
        }
    }

    /// Notes the end of the stream, which is an entry of the copy.
    pub(crate) const fn end(&mut self) {
        self.copied += 1;
        self.passed = 0;
        self.memo.ended = true;
    }

    fn turn(&mut self, id: &str) {
        let before = std::mem::replace(&mut self.memo.id, id.to_owned());
        let is_kept = !self.memo.exact && !id.is_empty() && size(&before) <= BEFORE_MAX;
        self.memo.before = if is_kept { before } else { String::new() };
    }
}

impl Again {
    /// Adds earlier events, if they end with these ones, and returns the prints of all.
    pub(crate) fn extend(&mut self, earlier: &Prints) -> Prints {
        let earlier: Vec<_> = earlier.iter().collect();
        if earlier.ends_with(&self.prints) {
            self.prints = earlier;
        }
        self.prints.iter().copied().collect()
    }

    /// Compares the next event. Those that come again do so in their order, and may begin anywhere: a server may send more
    /// again than it was asked for, and may leave some out.
    pub(crate) fn see(&mut self, print: Print) -> Seen {
        let all = self.prints.len();
        let is_same = |at: &usize| self.prints.get(*at) == Some(&print);
        let followed = match &self.ends {
            None => (0..all).filter(is_same).collect(),
            Some(ends) => {
                let next: Vec<_> = ends.iter().copied().filter(is_same).collect();
                if next.is_empty() && ends.contains(&all) {
                    return Seen::New { is_unproven: false };
                }
                let first = ends.first().copied().unwrap_or(all);
                if next.is_empty() { (first..all).filter(is_same).collect() } else { next }
            }
        };
        let ends: Vec<_> = followed.iter().map(|at| at + 1).collect();
        match *ends {
            [] => return Seen::New { is_unproven: self.must_prove },
            [end] if end == all => return Seen::Last,
            _ => self.ends = Some(ends),
        }
        Seen::Before
    }
}

#[cfg(test)]
mod tests;
