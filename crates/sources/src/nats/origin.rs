//! The first message of a reading, and the loss that has to be told before it.

use crate::begin::{Before, Begin};
use crate::place::Place;

/// The text of a place: the stream that it belongs to, and the time of its message. Both in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When the stream was made.
    pub(super) created: i64,
    /// No message up to the place is younger, and every one after it is.
    pub(super) time: i64,
}

impl Stamp {
    /// The place of a sequence.
    pub(super) fn place(self, era: u64, sequence: u64) -> Place {
        let text = format!("{} {}", self.created, self.time);
        Place { era, major: sequence, minor: 0, text }
    }

    /// A place that we did not write belongs to no stream.
    fn of(place: &Place) -> Self {
        let mut numbers = place.text.split(' ').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { created: next(), time: next() }
    }
}

/// A stream when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamState {
    pub(super) created: i64,
    /// The sequence of the first message, or that after the last if there is none.
    pub(super) first: u64,
    pub(super) first_time: i64,
    /// The last sequence that was given out.
    pub(super) last: u64,
    pub(super) last_time: i64,
    /// The time of the message at our place, if the stream still has one.
    pub(super) ours: Option<i64>,
    /// True if every message of the stream is read, and none is superseded by a later one: then a number that is
    /// missing is a message that is missing.
    pub(super) is_whole: bool,
}

/// The beginning of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) era: u64,
    pub(super) start: FirstMessage,
    /// Every message before the start has at most this time.
    pub(super) time: i64,
    pub(super) before: Before,
}

/// The first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstMessage {
    /// Has this sequence, or is the next one.
    Sequence(u64),
    /// Is younger than the time of the origin.
    Time,
}

impl Origin {
    /// Compares our place with the stream.
    pub(super) fn of(after: Option<&Place>, begin: Begin, facts: &StreamState) -> Self {
        let Some(place) = after else {
            let (start, time) = match begin {
                Begin::First => (facts.first, facts.before_first()),
                Begin::New => (facts.last + 1, facts.last_time),
            };
            return Self {
                era: 0,
                start: FirstMessage::Sequence(start),
                time,
                before: Before::Nothing,
            };
        };
        let (ours, stamp) = (place.major, Stamp::of(place));
        let lost = |missed, reason| Before::Lost { missed, reason };
        let numbered_anew = |start, time, reason| Self {
            era: place.era + 1,
            start,
            time,
            before: lost(None, reason),
        };
        if stamp.created != facts.created {
            let start = FirstMessage::Sequence(facts.first);
            let reason = "the stream was deleted and made again".to_owned();
            return numbered_anew(start, facts.before_first(), reason);
        }
        if facts.last < ours {
            let last = facts.last;
            let reason =
                format!("the stream has lost its end: message {ours} was read, the last is {last}");
            return numbered_anew(FirstMessage::Time, stamp.time, reason);
        }
        if facts.ours.is_some_and(|time| time != stamp.time) {
            let reason =
                format!("the stream has lost its end: message {ours} is another than was read");
            return numbered_anew(FirstMessage::Time, stamp.time, reason);
        }
        let (era, start) = (place.era, FirstMessage::Sequence(facts.first.max(ours + 1)));
        if facts.first <= ours + 1 {
            return Self { era, start, time: stamp.time, before: Before::Copied };
        }
        let missed = facts.first - ours - 1;
        let reason = if facts.is_whole {
            format!("the stream has removed {missed} messages before they were read")
        } else {
            "the stream may have removed messages before they were read".to_owned()
        };
        let missed = facts.is_whole.then_some(missed);
        let time = facts.before_first().max(stamp.time);
        Self { era, start, time, before: lost(missed, reason) }
    }
}

impl StreamState {
    /// A time before that of the first message, and not before those that came before it.
    fn before_first(&self) -> i64 {
        if self.first > self.last { self.last_time } else { self.first_time - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: StreamState = StreamState {
        created: 7,
        first: 11,
        first_time: 1011,
        last: 20,
        last_time: 1020,
        ours: None,
        is_whole: true,
    };

    fn at(sequence: u64) -> Place {
        Stamp { created: 7, time: 1000 + i64::try_from(sequence).unwrap() }.place(3, sequence)
    }

    fn origin(after: &Place, facts: StreamState) -> Origin {
        Origin::of(Some(after), Begin::New, &facts)
    }

    #[test]
    fn a_copy_begins_at_the_first_message_or_at_the_next() {
        let begin = |begin, facts| {
            let origin = Origin::of(None, begin, &facts);
            assert_eq!((origin.era, origin.before), (0, Before::Nothing));
            (origin.start, origin.time)
        };
        assert_eq!(begin(Begin::First, FACTS), (FirstMessage::Sequence(11), 1010));
        assert_eq!(begin(Begin::New, FACTS), (FirstMessage::Sequence(21), 1020));
        let purged = StreamState { first: 21, first_time: 0, ..FACTS };
        assert_eq!(begin(Begin::First, purged), (FirstMessage::Sequence(21), 1020));
        let empty = StreamState { first: 1, last: 0, first_time: 0, last_time: 0, ..FACTS };
        assert_eq!(begin(Begin::First, empty), (FirstMessage::Sequence(1), 0));
    }

    #[test]
    fn a_reading_goes_on_after_its_place() {
        for sequence in [10, 15, 20] {
            let origin = origin(&at(sequence), FACTS);
            assert_eq!((origin.era, &origin.before), (3, &Before::Copied));
            assert_eq!(origin.start, FirstMessage::Sequence(sequence + 1));
        }
    }

    #[test]
    fn the_number_of_removed_messages_is_exact_where_it_can_be_known() {
        let lost = |sequence, facts| {
            let origin = origin(&at(sequence), facts);
            assert_eq!(
                (origin.era, origin.start, origin.time),
                (3, FirstMessage::Sequence(11), 1010)
            );
            let Before::Lost { missed, .. } = origin.before else { panic!("{origin:?}") };
            missed
        };
        assert_eq!(lost(9, FACTS), Some(1));
        assert_eq!(lost(0, FACTS), Some(10));
        assert_eq!(lost(0, StreamState { is_whole: false, ..FACTS }), None);
        let purged = StreamState { first: 21, first_time: 0, ..FACTS };
        let origin = origin(&at(15), purged);
        assert_eq!((origin.start, origin.time), (FirstMessage::Sequence(21), 1020));
    }

    #[test]
    fn numbers_that_are_given_out_again_begin_an_era() {
        let made_again = StreamState { created: 8, ..FACTS };
        let shorter = at(21);
        let another = StreamState { ours: Some(1), ..FACTS };
        for (place, facts, start, time) in [
            (at(15), made_again, FirstMessage::Sequence(11), 1010),
            (shorter, FACTS, FirstMessage::Time, 1021),
            (at(15), another, FirstMessage::Time, 1015),
        ] {
            let origin = origin(&place, facts);
            assert_eq!((origin.era, origin.start, origin.time), (4, start, time));
            assert!(matches!(origin.before, Before::Lost { missed: None, .. }), "{origin:?}");
        }
        let same = StreamState { ours: Some(1015), ..FACTS };
        assert_eq!(origin(&at(15), same).before, Before::Copied);
    }
}
