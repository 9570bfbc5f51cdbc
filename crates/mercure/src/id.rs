//! The ids of updates.
//!
//! A publisher may bring an id of its own, which is kept as it is. Any other update has an id that the hub makes of its
//! position, so nothing but the position has to be stored: `urn:uuid:` and a UUID of version 8 (RFC 9562).

use std::fmt;

use event_log::{Key, Position};
use sha1_smol::Sha1;

use crate::text::{self, BadText};

/// The id of an update.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Box<str>);

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// The text is not allowed.
    #[error("the id {0}")]
    Text(#[from] BadText),
    /// It begins as the hub's own fragments do.
    #[error("the id {0:?} begins with \"#\", which is reserved")]
    Fragment(String),
    /// It is the word for the oldest update.
    #[error("the id \"earliest\" is reserved")]
    Earliest,
}

/// The beginning of an id that the hub makes.
const URN: &str = "urn:uuid:";
/// The places of the dashes in a UUID.
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// The length of a UUID as a text, in bytes.
const UUID_BYTES: usize = 36;

/// The version and the variant, in their places.
const VERSION: u128 = 8 << 76;
const VARIANT: u128 = 0b10 << 62;
/// Ten bits that no number needs: they tell the hub's ids from other UUIDs of version 8.
const MARK: u128 = 0b01_1010_0101 << 66;
/// The bits of a position: `ms` in the first 48, then the upper two bits of `n` and the lower 62.
const MS_SHIFT: u32 = 80;
const MS_MAX: u64 = (1 << 48) - 1;
const N_HIGH_SHIFT: u32 = 64;
const N_LOW_BITS: u32 = 62;
const N_LOW: u64 = (1 << N_LOW_BITS) - 1;

impl Id {
    /// The longest id, in bytes: it is kept for each update, and browsers send it back in a header.
    pub const MAX_BYTES: usize = 1024;
    /// The word for the oldest update, in place of an id.
    pub const EARLIEST: &'static str = "earliest";

    /// Checks and returns the id of a publisher.
    ///
    /// # Errors
    /// Empty, too long, invisible characters, or reserved.
    pub fn new(text: &str) -> Result<Self, BadId> {
        text::check(text, Self::MAX_BYTES)?;
        match text {
            Self::EARLIEST => Err(BadId::Earliest),
            _ if text.starts_with('#') => Err(BadId::Fragment(text.to_owned())),
            _ => Ok(Self(text.into())),
        }
    }

    /// Makes the id of the update at a position. Its `ms` counts up to 2^48 - 1, which is the year 10889.
    #[must_use]
    pub fn of(position: Position) -> Self {
        let ms = u128::from(position.ms.min(MS_MAX)) << MS_SHIFT;
        let high = u128::from(position.n >> N_LOW_BITS) << N_HIGH_SHIFT;
        let bits = ms | VERSION | MARK | high | VARIANT | u128::from(position.n & N_LOW);
        let mut text = format!("{bits:032x}");
        for at in DASHES {
            text.insert(at, '-');
        }
        Self(format!("{URN}{text}").into())
    }

    /// The position of which the hub has made this id. A publisher may bring an id of the same form, so the index of
    /// publishers' ids is asked first.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let uuid = self.0.strip_prefix(URN).filter(|uuid| uuid.len() == UUID_BYTES)?;
        let bits = u128::from_str_radix(&uuid.replace('-', ""), 16).ok()?;
        let ms = u64::try_from(bits >> MS_SHIFT).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
        let n = ((bits >> N_HIGH_SHIFT) as u64 & 0b11) << N_LOW_BITS | bits as u64 & N_LOW;
        let position = Position::new(ms, n);
        // Of all spellings only the hub's own.
        (Self::of(position) == *self).then_some(position)
    }

    /// The label under which a log finds the update with this id: the id behind `=`, or, if that is no label, a hash of it
    /// behind `~`.
    ///
    /// # Panics
    /// Never: a hash is a label.
    #[must_use]
    pub fn label(&self) -> Key {
        Key::new(&format!("={}", self.0)).unwrap_or_else(|_| {
            Key::new(&format!("~{}", Sha1::from(&*self.0).digest())).expect("a hash is a label")
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_of_the_hub_is_a_uuid_of_version_8() {
        let id = Id::of(Position::new(1_700_000_000_123, 42));
        assert_eq!(id.as_str(), "urn:uuid:018bcfe5-687b-8694-8000-00000000002a");
        assert_eq!(id.position(), Some(Position::new(1_700_000_000_123, 42)));
    }

    #[test]
    fn other_ids_have_no_position() {
        for text in [
            "1700000000123-42",
            "urn:uuid:",
            "urn:uuid:018BCFE5-687b-8694-8000-00000000002a",
            "urn:uuid:018bcfe5687b-8694-8000-00000000002a",
            "urn:uuid:018bcfe5-687b-4694-8000-00000000002a",
            "urn:uuid:018bcfe5-687b-8694-c000-00000000002a",
            "urn:uuid:018bcfe5-687b-8000-8000-00000000002a",
            "urn:uuid:+18bcfe5-687b-8694-8000-00000000002a",
            "urn:uuid:\u{e9}\u{e9}bcfe5-687b-8694-8000-00000000002",
        ] {
            assert_eq!(Id::new(text).unwrap().position(), None, "{text}");
        }
    }

    #[test]
    fn reserved_and_invisible_ids_are_refused() {
        assert_eq!(Id::new("earliest"), Err(BadId::Earliest));
        assert_eq!(Id::new("#3"), Err(BadId::Fragment("#3".to_owned())));
        assert_eq!(Id::new(""), Err(BadId::Text(BadText::Empty)));
        assert!(Id::new("a\0").is_err() && Id::new(&"x".repeat(1025)).is_err());
        assert!(Id::new("Earliest").is_ok() && Id::new("a#b").is_ok());
    }

    #[test]
    fn every_id_has_a_label_of_its_own() {
        let label = |text: &str| Id::new(text).unwrap().label().as_str().to_owned();
        assert_eq!(label("urn:x:1"), "=urn:x:1");
        assert_eq!(label("a b"), "~7dbde93504122a707f849f2c12bdd9de71b41929");
        let long = "x".repeat(Id::MAX_BYTES);
        assert_eq!(label(&long).len(), 41);
        assert_ne!(label(&long), label(&long[1..]));
        assert_ne!(label(&label("a b")), label("a b"));
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_its_position(ms in 0..=MS_MAX, n: u64) {
            let position = Position::new(ms, n);
            let id = Id::of(position);
            prop_assert_eq!(id.position(), Some(position));
            prop_assert_eq!(Id::new(id.as_str()), Ok(id));
        }

        #[test]
        fn ids_of_a_log_are_in_its_order(ms in 0..MS_MAX, n in 0..u64::MAX >> 2) {
            let at = Id::of(Position::new(ms, n));
            prop_assert!(at < Id::of(Position::new(ms, n + 1)));
            prop_assert!(at < Id::of(Position::new(ms + 1, 0)));
        }

        #[test]
        fn no_text_panics(text in r"(urn:uuid:)?[0-9a-f\PC-]{0,40}") {
            if let Ok(id) = Id::new(&text) {
                prop_assert!(id.position().is_none_or(|position| Id::of(position) == id));
            }
        }
    }
}
