//! The interface to a source.

use async_trait::async_trait;
use event_log::{NewEvent, Topic};

use crate::place::Place;

/// A system whose events are copied, in one order of its own.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Connects, and begins after a place; without one, where the configuration says. What the source no longer has
    /// of the events after the place is the first item of the reading, as [`Item::Gap`].
    ///
    /// # Errors
    /// The source cannot be reached, or refuses.
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure>;

    /// Returns true if a topic whose bookmark is `known` has the item of `place` already. Sources without places of
    /// their own know an item by something else.
    fn has(&self, known: &Place, place: &Place) -> bool {
        known.order() >= place.order()
    }
}

/// An open connection to a source.
#[async_trait]
pub(crate) trait Reading: Send {
    /// Waits for the next items, in their order: one at least, and [`BATCH_MAX`] at most. Cancel-safe: an item that
    /// was not returned is returned by the next call.
    ///
    /// # Errors
    /// The connection was lost, or the source refuses to go on. The copier opens the source again.
    async fn next(&mut self) -> Result<Vec<Item>, Failure>;

    /// Tells the source that everything up to a place is stored. Called after each batch, and by no more than that.
    ///
    /// # Errors
    /// The connection was lost.
    async fn stored(&mut self, up_to: &Place) -> Result<(), Failure>;

    /// Tells the source a place that is in the log as the checkpoint: a copy that begins again begins there or later,
    /// so the source may forget everything before. Called once a beat at most.
    fn checkpointed(&mut self, _place: &Place) {}

    /// Returns the distance of the copy behind the source, as far as the source tells.
    fn lag(&self) -> Lag {
        Lag::default()
    }
}

/// Most items that a source returns at once.
pub(crate) const BATCH_MAX: usize = 256;

/// A part of a source. Its place is that after it.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// An event.
    Event {
        /// The topic that it is copied to.
        topic: Topic,
        /// The event.
        event: NewEvent,
        /// Its place.
        place: Place,
    },
    /// Something that cannot be an event: a rule of the operator decides about it.
    Bad {
        /// Its beginning, for people.
        excerpt: String,
        /// The reason, with the value and the limit.
        reason: String,
        /// Its place.
        place: Place,
    },
    /// Events that the source had and does not have any more, or that may have been missed.
    Gap {
        /// Their number, if the source tells it.
        missed: Option<u64>,
        /// The sign by which it was noticed.
        reason: String,
        /// The place from which the source goes on.
        place: Place,
    },
    /// Nothing to copy up to this place, such as other tables' transactions.
    Passed(Place),
}

impl Item {
    /// The place after the item.
    pub(crate) const fn place(&self) -> &Place {
        match self {
            Self::Event { place, .. } | Self::Bad { place, .. } | Self::Gap { place, .. } => place,
            Self::Passed(place) => place,
        }
    }
}

/// A source that does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// It will be opened again after a pause.
    #[error("{0}")]
    Away(String),
    /// Nothing helps but an operator: a wrong password, a slot that is gone. It is opened again too, once a
    /// minute, because the operator may mend it at the source.
    #[error("{0}")]
    Refused(String),
    /// The source has come to its end, and will never have another event.
    #[error("the source has ended")]
    Ended,
}

/// The distance of a copy behind its source; `None` where the source does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// Events that the source has and that are not copied.
    pub(crate) events: Option<u64>,
    /// Bytes that the source keeps for this copy.
    pub(crate) bytes: Option<u64>,
}
