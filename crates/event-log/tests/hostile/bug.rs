//! Mistakes that are planted to see that they are found: a test that cannot fail is worth nothing.

use event_log::{Event, NewEvent, Page};

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A page misses an event in its middle.
    DropsOne,
    /// A page has an event twice.
    DoublesOne,
    /// A page has two events in the wrong order.
    SwapsTwo,
    /// A page has a text that was never published.
    ChangesText,
    /// A gap says one more than are gone.
    CountsOneTooMany,
    /// A gap does not say how many are gone although that is known.
    DoesNotCount,
    /// A gap goes on one event too late.
    SkipsTooFar,
    /// Nothing is said of a gap.
    HidesGaps,
    /// The feed takes the event with the next number for the next event, though it be of another past.
    ComparesNumbers,
    /// What the feed loses is never looked for.
    NeverAudits,
    /// The audit finds the end and keeps it to itself.
    ForgetsTheEnd,
    /// The reader's client comes again with the cursor of a step that it did not get.
    LosesSteps,
    /// The reader's client comes again with the cursor from before a step that it got.
    RepeatsSteps,
}

impl Bug {
    pub(crate) const ALL: [Self; 13] = [
        Self::DropsOne,
        Self::DoublesOne,
        Self::SwapsTwo,
        Self::ChangesText,
        Self::CountsOneTooMany,
        Self::DoesNotCount,
        Self::SkipsTooFar,
        Self::HidesGaps,
        Self::ComparesNumbers,
        Self::NeverAudits,
        Self::ForgetsTheEnd,
        Self::LosesSteps,
        Self::RepeatsSteps,
    ];

    /// What the bug makes of a true page.
    pub(crate) fn distort(self, mut page: Page) -> Page {
        let Page { gap, events } = &mut page;
        match (self, gap, &mut events[..]) {
            (Self::DropsOne, _, [_, _, _, ..]) => drop(events.remove(1)),
            (Self::DoublesOne, _, [first, ..]) => {
                let again = first.clone();
                events.insert(0, again);
            }
            (Self::SwapsTwo, _, [_, _, _, ..]) => events.swap(1, 2),
            (Self::ChangesText, _, [event, ..]) => {
                let changed = NewEvent { data: "something else".into(), ..NewEvent::default() };
                *event = Event::new(event.topic().clone(), event.position(), changed);
            }
            (Self::CountsOneTooMany, Some(gap), _) => {
                gap.missed = gap.missed.map(|missed| missed + 1);
            }
            (Self::DoesNotCount, Some(gap), _) => gap.missed = None,
            (Self::SkipsTooFar, Some(gap), _) => gap.resume = gap.oldest.unwrap_or(gap.resume),
            (Self::HidesGaps, gap, _) => *gap = None,
            _ => {}
        }
        page
    }
}
