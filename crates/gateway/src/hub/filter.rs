//! The updates that a subscriber of a hub gets.

use std::sync::Arc;

use event_log::{Event, Position};
use mercure::{Claims, Id, Selector, Settings, Topic, Update};

/// The selectors of a subscriber, and the rights of its token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter {
    pub(super) settings: Arc<Settings>,
    pub(super) selectors: Vec<Selector>,
    /// `None` if everybody may read everything.
    pub(super) claims: Option<Claims>,
}

/// The update that an event holds, without its data; `None` if it holds none.
type Reading = Option<Update>;

impl Filter {
    /// Returns the bytes that the filter takes. The claims have a part of it that the token's length bounds.
    pub(crate) fn weight(&self) -> usize {
        self.selectors.iter().map(Selector::weight).sum::<usize>() + size_of::<Self>()
    }

    /// Returns true if the subscriber asks for the update in an event, and may have it.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let reading = event.reading::<Reading>(|event| read(event, &self.settings));
        let Some(Some(update)) = reading else { return false };
        let is_selected = |topic| self.selectors.iter().any(|selector| selector.matches(topic));
        update.topics.iter().any(is_selected)
            && self.claims.as_ref().is_none_or(|claims| claims.may_receive(update))
    }
}

/// Reads the update in an event, once a node. An event that was published without the hub is an update of its topic.
fn read(event: &Event, settings: &Settings) -> Reading {
    let attributes = event.extra().and_then(|extra| extra.attributes.as_deref());
    if let Some(attributes) = attributes {
        return Update::read(attributes, "", &settings.hub).ok();
    }
    let topic = settings.space.topic(event.topic())?;
    let mut update = Update::new(Topic::new(&topic, &settings.hub).ok()?, String::new());
    update.kind = event.kind().map(|kind| kind.as_str().into());
    Some(update)
}

/// The frame of an event that a filter [wanted](Filter::wants).
pub(crate) fn frame(event: &Event) -> String {
    let reading = event.reading::<Reading>(|_| None).and_then(Option::as_ref);
    let update = reading.expect("a filter has read the update");
    update.frame_of(&update.id_at(event.position()), event.data())
}

/// The id of the update at a position of the hub's log, which is the text of a cursor. `None` before the first.
pub(crate) fn id_of(cursor: &str) -> Option<String> {
    let position: Position = cursor.parse().ok()?;
    (position.n > 0).then(|| Id::of(position).to_string())
}
