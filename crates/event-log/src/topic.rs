//! Topics: the names under which events are published.

use std::fmt;
use std::ops::Deref;

use crate::LogName;
use crate::log_name::EVERYTHING;

/// A topic's name: 1 to 200 bytes of `A-Z a-z 0-9 . _ ~ : / @ -`, cheap to clone.
///
/// Each of these characters has the same meaning in a query string, escaped or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(LogName);

/// A text that is not a valid topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// The name is empty.
    #[error("a topic's name must not be empty")]
    Empty,
    /// The name is longer than [`Topic::MAX_BYTES`].
    #[error("a topic's name has {0} bytes; the limit is {max}", max = Topic::MAX_BYTES)]
    TooLong(usize),
    /// The name has a character that topics must not contain.
    #[error("a topic's name must not contain {0:?}; allowed are A-Z a-z 0-9 . _ ~ : / @ -")]
    BadChar(char),
    /// The name begins with the prefix of Tailwater's own topics.
    #[error("topic {0:?} begins with \"tailwater.\", which is reserved")]
    Reserved(String),
}

impl Topic {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 200;
    /// The prefix of Tailwater's own topics.
    pub const RESERVED: &'static str = "tailwater.";

    /// Parses the name of a topic that users may publish and subscribe to.
    ///
    /// # Errors
    /// Empty, too long, a character outside the alphabet, or reserved.
    pub fn new(name: &str) -> Result<Self, BadTopic> {
        if name.starts_with(Self::RESERVED) {
            return Err(BadTopic::Reserved(name.to_owned()));
        }
        Self::checked(name)
    }

    /// One of Tailwater's own topics: `tailwater.` followed by `name`.
    ///
    /// # Errors
    /// The same as for [`Topic::new`], except that the name is reserved.
    pub fn reserved(rest: &str) -> Result<Self, BadTopic> {
        Self::checked(&format!("{}{rest}", Self::RESERVED))
    }

    fn checked(name: &str) -> Result<Self, BadTopic> {
        if name.is_empty() {
            return Err(BadTopic::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(BadTopic::TooLong(name.len()));
        }
        match name.chars().find(|c| !Self::allows(*c)) {
            Some(c) => Err(BadTopic::BadChar(c)),
            None => Ok(Self(LogName(name.into()))),
        }
    }

    pub(crate) fn allows(c: char) -> bool {
        c.is_ascii_alphanumeric() || "._~:/@-".contains(c)
    }
}

/// The names of logs are those of topics, or made of them.
impl LogName {
    /// Reads the name of a log. `None` if neither a topic nor a space can have it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let prefix = name.strip_suffix(EVERYTHING).filter(|prefix| prefix.ends_with('/'));
        Topic::checked(prefix.unwrap_or(name)).ok()?;
        Some(Self(name.into()))
    }

    /// The topic of a log that has one only.
    #[must_use]
    pub fn topic(&self) -> Option<Topic> {
        (!self.is_space()).then(|| Topic(self.clone()))
    }

    /// The beginning of all topics in a space, which is a topic itself; the only topic of another log.
    #[must_use]
    pub fn prefix(&self) -> Topic {
        match self.0.strip_suffix(EVERYTHING) {
            Some(prefix) => Topic(Self(prefix.into())),
            None => Topic(self.clone()),
        }
    }
}

/// The name of a log that has this topic alone.
impl Deref for Topic {
    type Target = LogName;

    fn deref(&self) -> &LogName {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_query_string_keeps_are_topics() {
        for name in ["a", "orders/42", "user:7", "host.cpu-0", "~me@home_x"] {
            assert_eq!(Topic::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        assert_eq!(Topic::new(""), Err(BadTopic::Empty));
        assert_eq!(Topic::new(&"x".repeat(201)), Err(BadTopic::TooLong(201)));
        for (name, c) in [("a b", ' '), ("a+b", '+'), ("caf\u{e9}", '\u{e9}'), ("a\n", '\n')] {
            assert_eq!(Topic::new(name), Err(BadTopic::BadChar(c)));
        }
        assert_eq!(Topic::new("tailwater.x"), Err(BadTopic::Reserved("tailwater.x".into())));
        assert!(Topic::reserved("probe/n1").is_ok());
    }

    #[test]
    fn a_log_is_named_by_its_topic_or_by_the_prefix_of_its_space() {
        let topic = Topic::new("orders/42").unwrap();
        let own = LogName::parse("orders/42").unwrap();
        assert_eq!((&own, own.topic()), (&*topic, Some(topic.clone())));
        let space = LogName::parse("orders/**").unwrap();
        assert!(space.is_space() && space.topic().is_none());
        assert!(LogName::parse("tailwater.probe/n1").is_some());
        for bad in ["", "**", "orders**", "orders/*", "a b/**", "orders/*/**"] {
            assert_eq!(LogName::parse(bad), None, "{bad}");
        }
    }
}
