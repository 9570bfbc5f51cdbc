//! Places: how far a source has been copied.

use std::fmt;

use event_log::Bookmark;

/// The place of a record in its source: its order, and what the source needs to go on after it.
///
/// Of two records of a source the later one has the greater place. Written as "ERA.MAJOR.MINOR TEXT", a bookmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Grows when the source begins anew with smaller numbers, as a stream does that was deleted and made again.
    pub(crate) era: u64,
    /// The number of the record, or of the transaction that it belongs to.
    pub(crate) major: u64,
    /// The ordinal of the record under this number.
    pub(crate) minor: u64,
    /// The source's own text beside the numbers, as long as a bookmark leaves room for.
    pub(crate) text: String,
}

impl Place {
    /// The part of a place that is compared.
    pub(crate) const fn order(&self) -> [u64; 3] {
        [self.era, self.major, self.minor]
    }

    /// The longest `text`, in bytes.
    pub(crate) const TEXT_MAX: usize = Bookmark::MAX_BYTES - 256;

    /// Returns true if a place has this text.
    pub(crate) fn allows(text: &str) -> bool {
        text.len() <= Self::TEXT_MAX && !text.contains(['\0', '\r', '\n'])
    }

    /// The bookmark of the place. The text is shortened to nothing if it is too long or has a line break, so a
    /// source checks it with [`Place::allows`].
    pub(crate) fn bookmark(&self) -> Bookmark {
        let text = if Self::allows(&self.text) { &*self.text } else { "" };
        let written = format!("{}.{}.{} {text}", self.era, self.major, self.minor);
        Bookmark::new(&written).expect("numbers and an allowed text are a bookmark")
    }

    /// Reads a place; `None` if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (order, text) = text.split_once(' ')?;
        let mut numbers = order.splitn(3, '.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { era: next()?, major: next()?, minor: next()?, text: text.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.era, self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was() {
        for text in ["", "[{\"offset\":1}]", " a.b ", &"x".repeat(Place::TEXT_MAX)] {
            let place = Place { era: 1, major: u64::MAX, minor: 0, text: text.to_owned() };
            assert_eq!(Place::parse(place.bookmark().as_str()), Some(place));
        }
        for bad in ["", "1.2.3", "1.2 x", "1.2.3.4 x", "a.b.c x", "-1.2.3 x"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
