//! The place that a copier has reached in its source.

use std::fmt;
use std::sync::Arc;

use crate::Key;

/// A source's own cursor, which means something to the source alone: 1 to [`Bookmark::MAX_BYTES`] bytes of UTF-8
/// without NUL and line breaks. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bookmark(Arc<str>);

/// A text that is no bookmark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBookmark {
    /// The text is empty or longer than [`Bookmark::MAX_BYTES`].
    #[error("a bookmark has {0} bytes; it must have 1 to {max}", max = Bookmark::MAX_BYTES)]
    Length(usize),
    /// The text has a NUL or a line break.
    #[error("a bookmark must have neither NUL nor line breaks")]
    Char,
}

impl Bookmark {
    /// The longest bookmark, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// Checks and returns a bookmark.
    ///
    /// # Errors
    /// Empty, too long, or with NUL or a line break.
    pub fn new(text: &str) -> Result<Self, BadBookmark> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(BadBookmark::Length(text.len()));
        }
        if text.contains(['\0', '\r', '\n']) {
            return Err(BadBookmark::Char);
        }
        Ok(Self(text.into()))
    }

    /// The bookmark's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The step of a copier from one bookmark to the next, which an event brings with it.
///
/// A log keeps one bookmark for each topic and source, and moves it in the moment in which it stores the event. So
/// of several copiers of one source each event is stored once, and none is lost when a copier begins again at the
/// bookmark that the log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The name of the source.
    pub source: Key,
    /// The bookmark that the log must have; `None` if it must have none.
    pub from: Option<Bookmark>,
    /// The bookmark that the log has from then on. No two events of a source have the same.
    pub to: Bookmark,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_one_line_of_a_bounded_length() {
        let longest = "é".repeat(Bookmark::MAX_BYTES / 2);
        for good in ["0", "a b|c", "[{\"offset\":1}]", &longest] {
            assert_eq!(Bookmark::new(good).unwrap().to_string(), good);
        }
        assert_eq!(Bookmark::new(""), Err(BadBookmark::Length(0)));
        assert_eq!(Bookmark::new(&format!("{longest}a")), Err(BadBookmark::Length(4097)));
        for bad in ["a\nb", "a\r", "\0"] {
            assert_eq!(Bookmark::new(bad), Err(BadBookmark::Char));
        }
    }
}
