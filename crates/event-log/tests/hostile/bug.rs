//! Planted bugs, which the schedules must find: a test that cannot fail is worth nothing.

use event_log::{Event, NewEvent, Page};

/// A planted bug.
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
    /// A gap counts one event too many.
    CountsOneTooMany,
    /// A gap does not count the events although the log can count them.
    DoesNotCount,
    /// A gap resumes one event too late.
    SkipsTooFar,
    /// Gaps are not reported.
    HidesGaps,
    /// The feed takes an event with the next number as the next event, even from another generation.
    ComparesNumbers,
    /// The audit never runs, so events that the feed has lost stay lost.
    NeverAudits,
    /// The audit finds the end and does not mark the tail.
    ForgetsTheEnd,
    /// The client reconnects with the cursor of a step that it did not get.
    LosesSteps,
    /// The client reconnects with the cursor from before a step that it got.
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

    /// Changes a page as the bug does.
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
