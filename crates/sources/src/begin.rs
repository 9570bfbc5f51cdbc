//! The beginning of a reading of a numbered log.

use serde::Deserialize;

use crate::place::Place;
use crate::source::Item;

/// The first record of a source that has no place yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Begin {
    /// The first that the source has.
    #[default]
    First,
    /// The first that is written from now on.
    New,
}

/// The records before the first one of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before {
    /// None that concerns the copy: it begins here.
    Nothing,
    /// They are copied.
    Copied,
    /// Some are lost, or may be.
    Lost { missed: Option<u64>, reason: String },
}

impl Before {
    /// The first item of the reading, with the place before its first record.
    pub(crate) fn item(self, place: Place) -> Option<Item> {
        match self {
            // A copy that begins with new records keeps its place although none has come.
            Self::Nothing => Some(Item::Passed(place)),
            Self::Copied => None,
            Self::Lost { missed, reason } => Some(Item::Gap { missed, reason, place }),
        }
    }
}
