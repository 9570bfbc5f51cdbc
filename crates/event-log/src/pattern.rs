//! Patterns of topics.

use std::fmt;
use std::sync::Arc;

use crate::Topic;

/// A pattern of topics: a topic of which a segment may be `*`, which is any one segment, and the last may be `**`,
/// which is one segment or more. Segments stand between slashes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// The pattern is longer than a topic may be.
    #[error("a pattern has {0} bytes; the limit is {max}", max = Topic::MAX_BYTES)]
    TooLong(usize),
    /// The pattern has a character that neither topics nor wildcards have.
    #[error(
        "a pattern must not contain {0:?}; allowed are A-Z a-z 0-9 . _ ~ : / @ - and the wildcards * and **"
    )]
    BadChar(char),
    /// A wildcard stands in a place where it means nothing.
    #[error("pattern {0:?} has a wildcard out of place: * is a whole segment, and ** the last one")]
    Wildcard(String),
    /// The pattern has no wildcard.
    #[error("{0:?} has no wildcard: it is a topic")]
    Topic(String),
    /// The pattern begins with the prefix of Tailwater's own topics.
    #[error("pattern {0:?} begins with \"tailwater.\", which is reserved")]
    Reserved(String),
}

/// One segment.
pub(crate) const ONE: &str = "*";
/// The rest: one segment or more.
pub(crate) const REST: &str = "**";

impl Pattern {
    /// Checks and returns a pattern, which has at least one wildcard.
    ///
    /// # Errors
    /// Too long, a foreign character, a wildcard out of place or none at all, or reserved.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        if text.len() > Topic::MAX_BYTES {
            return Err(BadPattern::TooLong(text.len()));
        }
        if let Some(char) = text.chars().find(|c| *c != '*' && !Topic::allows(*c)) {
            return Err(BadPattern::BadChar(char));
        }
        if text.starts_with(Topic::RESERVED) {
            return Err(BadPattern::Reserved(text.to_owned()));
        }
        if !text.contains('*') {
            return Err(BadPattern::Topic(text.to_owned()));
        }
        let last = text.split('/').count() - 1;
        let is_misplaced = |(index, segment): (usize, &str)| match segment {
            ONE => false,
            REST => index != last,
            other => other.contains('*'),
        };
        if text.split('/').enumerate().any(is_misplaced) {
            return Err(BadPattern::Wildcard(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, wildcards among them.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns true if a topic matches, in time linear in its length.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let (mut wanted, mut segments) = (self.segments(), topic.as_str().split('/'));
        loop {
            match (wanted.next(), segments.next()) {
                (Some(REST), Some(_)) | (None, None) => return true,
                (Some(ONE), Some(_)) => {}
                (Some(wanted), Some(segment)) if wanted == segment => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(&Topic::new(topic).unwrap())
    }

    #[test]
    fn a_pattern_matches_whole_segments() {
        for (pattern, topic) in [
            ("orders/*", "orders/42"),
            ("orders/*", "orders/"),
            ("orders/**", "orders/42/lines/7"),
            ("orders/*/lines", "orders/42/lines"),
            ("**", "a"),
            ("a//*", "a//b"),
        ] {
            assert!(matches(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("orders/*", "orders"),
            ("orders/*", "orders/42/lines"),
            ("orders/**", "orders"),
            ("orders/**", "orders2/42"),
            ("orders/*/lines", "orders/42/line"),
        ] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for text in ["a*", "**/a", "a/**b", "***", "a/***"] {
            assert_eq!(Pattern::new(text), Err(BadPattern::Wildcard(text.to_owned())));
        }
        assert_eq!(Pattern::new("a b/*"), Err(BadPattern::BadChar(' ')));
        assert_eq!(Pattern::new("a/b"), Err(BadPattern::Topic("a/b".into())));
        assert_eq!(Pattern::new(""), Err(BadPattern::Topic(String::new())));
        assert_eq!(
            Pattern::new("tailwater.x/*"),
            Err(BadPattern::Reserved("tailwater.x/*".into()))
        );
        assert_eq!(Pattern::new(&format!("{}/*", "x".repeat(199))), Err(BadPattern::TooLong(201)));
    }
}
