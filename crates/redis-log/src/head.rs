//! The head of a topic, as its key holds it.
//!
//! The head tells the format in which the topic is stored. This version writes format 1, whose heads bear no mark.
//! The head of a topic in a later format begins with `v2 `, `v3 ` and so on. A version that does not know that format
//! reads nothing of the topic, stores nothing in it, and is not ready any more (`formats`).

use event_log::{Event, Generation, Position};

/// The format that this version writes, and the latest that it reads.
pub(crate) const FORMAT: u64 = 1;

/// The format of the topic with this head.
pub(crate) fn format_of(head: &str) -> u64 {
    let mark = head.split(' ').next().and_then(|word| word.strip_prefix('v'));
    mark.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// The last position of a topic and what came with it. Written by `publish.lua` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogHead {
    pub(crate) generation: Generation,
    pub(crate) ended: bool,
    /// The number up to which lost events were skipped in this generation, or 0.
    pub(crate) accounted: u64,
}

impl LogHead {
    /// Parses the key's value. A value that the script would not understand counts as no head.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let head = words.next()?.parse().ok()?;
        let _expired = words.next()?;
        let first = words.next()?.parse().ok()?;
        let _generation = words.next()?;
        let ended = words.next()? == "e";
        let accounted = words.next().map_or(Some(0), |word| word.parse().ok())?;
        Some(Self { generation: Generation { head, first }, ended, accounted })
    }

    /// The head of a topic by its key and its newest event: the later of the two. Without the key the
    /// first position of the generation is unknown, and only the numbers show a loss.
    pub(crate) fn of(key: Option<Self>, newest: Option<&Event>) -> Option<Self> {
        Self::at(key, newest.map(|newest| (newest.position(), newest.mark().ends())))
    }

    /// The same, by the position of the newest event; with true if this event ends the topic.
    pub(crate) fn at(key: Option<Self>, newest: Option<(Position, bool)>) -> Option<Self> {
        let Some((newest, ended)) = newest else { return key };
        let first = key.map_or(Position::START, |head| head.generation.first);
        let generation = Generation { head: newest, first };
        let accounted = key.map_or(0, |head| head.accounted);
        let read = Self { generation, ended, accounted };
        key.filter(|head| head.position() >= newest).or(Some(read))
    }

    pub(crate) fn position(&self) -> Position {
        self.generation.head
    }

    /// Returns true if the log may have lost the event of this witness. `publish.lua` decides it.
    pub(crate) fn may_lack(&self, witness: Position) -> bool {
        let Generation { head, first } = self.generation;
        let lost = witness > head && witness.n > head.n;
        let replaced = first.n > 1 && witness.ms < first.ms;
        !self.ended && (lost || replaced && witness.n >= first.n && witness.n > self.accounted)
    }
}

#[cfg(test)]
mod tests {
    use event_log::{Mark, NewEvent, Topic};

    use super::*;

    #[test]
    fn a_head_tells_its_format() {
        for (head, format) in [("20-7 5 12-4 0123abcd o", 1), ("v2 x", 2), ("v17", 17)] {
            assert_eq!(format_of(head), format, "{head}");
        }
        for garbage in ["", "v", "vx y", "version"] {
            assert_eq!(format_of(garbage), 1, "{garbage}");
        }
    }

    #[test]
    fn a_head_that_the_script_writes_is_parsed() {
        let head = LogHead::parse("20-7 5 12-4 0123abcd e").unwrap();
        assert_eq!(head.position(), Position::new(20, 7));
        assert_eq!(head.generation.first, Position::new(12, 4));
        assert!(head.ended);
        assert!(!LogHead::parse("20-7 5 12-4 0123abcd o").unwrap().ended);
        assert_eq!(LogHead::parse("20-7 5 12-4 0123abcd o 6").unwrap().accounted, 6);
    }

    #[test]
    fn the_newest_event_stands_in_for_a_head_that_is_gone_or_older() {
        let key = LogHead::parse("20-7 5 12-4 0123abcd o");
        let event = |ms, n| {
            let new = NewEvent { mark: Mark::Last, ..NewEvent::default() };
            Event::new(Topic::new("t").unwrap(), Position::new(ms, n), new)
        };
        assert_eq!(LogHead::of(key, None), key);
        assert_eq!(LogHead::of(key, Some(&event(19, 6))), key);
        let newer = LogHead::of(key, Some(&event(21, 8))).unwrap();
        assert_eq!((newer.position().n, newer.generation.first.n, newer.ended), (8, 4, true));
        let only = LogHead::of(None, Some(&event(21, 8))).unwrap();
        assert_eq!((only.position().n, only.generation.first), (8, Position::START));
        assert_eq!(LogHead::of(None, None), None);
    }

    #[test]
    fn a_witness_shows_what_is_lost() {
        let lacks = |text, ms, n| LogHead::parse(text).unwrap().may_lack(Position::new(ms, n));
        assert!(lacks("20-7 5 12-4 0123abcd o", 21, 8));
        assert!(!lacks("20-7 5 12-4 0123abcd e", 21, 8));
        assert!(!lacks("20-7 5 12-4 0123abcd o", 20, 7));
        assert!(lacks("20-7 5 12-4 0123abcd o", 11, 5));
        assert!(!lacks("20-7 5 12-4 0123abcd o 5", 11, 5));
        assert!(!lacks("20-7 5 12-4 0123abcd o", 11, 3));
        assert!(!lacks("20-7 5 12-1 0123abcd o", 11, 5), "a numbering that began again is a reset");
    }

    #[test]
    fn any_other_text_is_no_head() {
        for text in ["", "20-7", "20-7 5 x 0123abcd o", "x 5 12-4 0123abcd o"] {
            assert_eq!(LogHead::parse(text), None, "{text:?}");
        }
    }
}
