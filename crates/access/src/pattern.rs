//! Patterns of topics.
//!
//! A pattern is a topic in which a segment may be `*`, which is one segment, and the last may be `**`, which
//! is one segment or more. Segments stand between slashes. `{sub}` in a segment stands for the subject.

use std::fmt;

/// A pattern of topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

/// A list of patterns. A topic matches the list if it matches one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns(Box<[Pattern]>);

/// A text that is no pattern, or a list that is too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// The pattern is empty or longer than [`Pattern::MAX_BYTES`].
    #[error("a pattern has {0} bytes; it must have 1 to {max}", max = Pattern::MAX_BYTES)]
    Length(usize),
    /// The pattern holds a character that no topic has.
    #[error(
        "pattern {pattern:?} has {char:?}; a pattern has letters, digits, . _ ~ : / @ -, * and {{sub}}"
    )]
    Char {
        /// The pattern.
        pattern: String,
        /// The character.
        char: char,
    },
    /// A wildcard stands in a place where it means nothing.
    #[error("pattern {0:?} has a wildcard out of place: * is a whole segment, and ** the last one")]
    Wildcard(String),
    /// The list is longer than [`Patterns::MAX`].
    #[error("{0} patterns in one list; the limit is {max}", max = Patterns::MAX)]
    TooMany(usize),
}

/// A subject that cannot stand in a pattern, because a segment of a topic cannot hold it.
const SUBJECT: &str = "{sub}";

impl Pattern {
    /// The longest pattern, in bytes.
    pub const MAX_BYTES: usize = 200;

    /// Checks and returns a pattern.
    ///
    /// # Errors
    /// Empty, too long, a foreign character, or a wildcard out of place.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(BadPattern::Length(text.len()));
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "._~:/@-*".contains(*c);
        if let Some(char) = text.split(SUBJECT).flat_map(str::chars).find(|c| !allowed(c)) {
            return Err(BadPattern::Char { pattern: text.to_owned(), char });
        }
        let last = text.split('/').count() - 1;
        let is_misplaced = |(index, segment): (usize, &str)| match segment {
            "*" => false,
            "**" => index != last,
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

    /// Returns true if a topic matches, or if all topics of another pattern do, in time linear in its length. A pattern
    /// with `{sub}` matches nothing without a subject that can stand in a segment.
    #[must_use]
    pub fn matches(&self, topic: &str, subject: Option<&str>) -> bool {
        let (mut pattern, mut segments) = (self.0.split('/'), topic.split('/'));
        loop {
            match (pattern.next(), segments.next()) {
                (Some("**"), Some(_)) => return true,
                // `**` is more than one segment.
                (Some("*"), Some(segment)) if segment != "**" => {}
                // Whatever a subject is called, it is no wildcard.
                (Some(wanted), Some(segment))
                    if !segment.contains('*') && is_segment(wanted, segment, subject) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

/// Returns true if a segment is the wanted one, with the subject in the place of `{sub}`.
fn is_segment(wanted: &str, segment: &str, subject: Option<&str>) -> bool {
    let Some((before, after)) = wanted.split_once(SUBJECT) else {
        return wanted == segment;
    };
    let Some(subject) = subject.filter(|subject| !subject.is_empty() && !subject.contains('/'))
    else {
        return false;
    };
    let rest = segment.strip_prefix(before).and_then(|rest| rest.strip_prefix(subject));
    rest.is_some_and(|rest| is_segment(after, rest, Some(subject)))
}

impl Patterns {
    /// Patterns in one list.
    pub const MAX: usize = 64;

    /// A list that every topic matches.
    #[must_use]
    pub fn every() -> Self {
        Self([Pattern("**".into())].into())
    }

    /// Checks and returns a list.
    ///
    /// # Errors
    /// The list is too long, or a text is no pattern.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let list: Vec<_> = texts.into_iter().map(Pattern::new).collect::<Result<_, _>>()?;
        match list.len() {
            count if count > Self::MAX => Err(BadPattern::TooMany(count)),
            _ => Ok(Self(list.into())),
        }
    }

    /// Returns true if no topic matches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a topic matches one of the patterns.
    #[must_use]
    pub fn matches(&self, topic: &str, subject: Option<&str>) -> bool {
        self.0.iter().any(|pattern| pattern.matches(topic, subject))
    }

    /// The patterns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(topic, Some("ann"))
    }

    #[test]
    fn a_pattern_matches_whole_segments() {
        for (pattern, topic) in [
            ("user/1", "user/1"),
            ("user/*", "user/10"),
            ("**", "a/b/c"),
            ("a/**", "a/b/c"),
            ("a/*/c", "a/b/c"),
            ("u/{sub}", "u/ann"),
            ("u/x-{sub}:{sub}", "u/x-ann:ann"),
            ("a//b", "a//b"),
        ] {
            assert!(matches(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("user/1", "user/10"),
            ("user/*", "user"),
            ("user/*", "user/1/2"),
            ("a/**", "a"),
            ("a/**", "ab/c"),
            ("u/{sub}", "u/bob"),
            ("u/{sub}", "u/ann/x"),
            ("*", "a/b"),
        ] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
    }

    #[test]
    fn a_pattern_covers_other_patterns() {
        for (pattern, covered) in [
            ("a/*", "a/*"),
            ("a/**", "a/*"),
            ("a/**", "a/**"),
            ("a/**", "a/*/c/**"),
            ("**", "a/*"),
            ("*/b", "*/b"),
        ] {
            assert!(matches(pattern, covered), "{pattern} {covered}");
        }
        for (pattern, not) in [("a/*", "a/**"), ("a/1", "a/*"), ("a/*", "*/1"), ("u/{sub}", "u/*")]
        {
            assert!(!matches(pattern, not), "{pattern} {not}");
        }
        let own = Pattern::new("u/{sub}").unwrap();
        for subject in ["*", "**"] {
            assert!(!own.matches(&format!("u/{subject}"), Some(subject)));
        }
    }

    #[test]
    fn a_subject_with_a_slash_or_none_matches_nothing() {
        let pattern = Pattern::new("u/{sub}").unwrap();
        assert!(!pattern.matches("u/a/b", Some("a/b")));
        assert!(!pattern.matches("u/", Some("")));
        assert!(!pattern.matches("u/x", None));
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        assert_eq!(Pattern::new(""), Err(BadPattern::Length(0)));
        assert_eq!(Pattern::new(&"x".repeat(201)), Err(BadPattern::Length(201)));
        for text in ["a*", "**/a", "a/**b", "***"] {
            assert_eq!(Pattern::new(text), Err(BadPattern::Wildcard(text.to_owned())));
        }
        for (text, char) in [("a b", ' '), ("{user}", '{'), ("caf\u{e9}", '\u{e9}')] {
            assert_eq!(
                Pattern::new(text),
                Err(BadPattern::Char { pattern: text.to_owned(), char })
            );
        }
        assert_eq!(Patterns::new(["a"; 65]), Err(BadPattern::TooMany(65)));
        assert!(Patterns::new(["a"; 64]).is_ok());
    }
}
