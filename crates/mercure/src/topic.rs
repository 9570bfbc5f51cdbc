//! The topic of an update.

use std::fmt;
use std::sync::OnceLock;

use urlpattern::UrlPatternMatchInput;
use urlpattern::quirks::{MatchInput, parse_match_input};

use crate::hub::Hub;
use crate::text::{self, BadText};

/// A topic: any visible text. It is resolved as a URL once, when the first pattern needs it.
#[derive(Clone)]
pub struct Topic {
    text: Box<str>,
    hub: Hub,
    url: OnceLock<Option<Box<MatchInput>>>,
}

/// A text that is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// The text is not allowed.
    #[error("the topic {0}")]
    Text(#[from] BadText),
    /// It is the wildcard of selectors.
    #[error("the topic \"*\" is reserved: as a selector it stands for every topic")]
    Wildcard,
}

impl Topic {
    /// The longest topic, in bytes.
    pub const MAX_BYTES: usize = 2048;
    /// The longest topic that is stored, in bytes: that of the hub about a subscription, which holds a selector, each byte of
    /// it escaped as three, beside the hub's path and a subscriber.
    pub const STORED_BYTES_MAX: usize = 3 * Self::MAX_BYTES + 2048;

    /// Checks and returns a topic.
    ///
    /// # Errors
    /// Empty, too long, invisible characters, or `*`.
    pub fn new(text: &str, hub: &Hub) -> Result<Self, BadTopic> {
        Self::checked(text, Self::MAX_BYTES, hub)
    }

    /// Checks and returns a topic that was stored, which may be one of the hub's own.
    pub(crate) fn stored(text: &str, hub: &Hub) -> Result<Self, BadTopic> {
        Self::checked(text, Self::STORED_BYTES_MAX, hub)
    }

    fn checked(text: &str, max: usize, hub: &Hub) -> Result<Self, BadTopic> {
        text::check(text, max)?;
        match text {
            "*" => Err(BadTopic::Wildcard),
            _ => Ok(Self::unchecked(text, hub)),
        }
    }

    /// A topic that stands for something else, such as the text of a selector or a path.
    pub(crate) fn unchecked(text: &str, hub: &Hub) -> Self {
        Self { text: text.into(), hub: hub.clone(), url: OnceLock::new() }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if only the hub may publish to it, because its path is under the hub's.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.url().is_some_and(|url| self.hub.owns(&url.pathname))
    }

    /// The parts of the topic as a URL; `None` if it cannot be one.
    pub(crate) fn url(&self) -> Option<&MatchInput> {
        let resolve = || {
            let url = self.hub.base().join(&self.text).ok()?;
            parse_match_input(UrlPatternMatchInput::Url(url)).map(Box::new)
        };
        self.url.get_or_init(resolve).as_deref()
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Topic {}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_the_hub_is_known_in_every_spelling() {
        let hub = Hub::new("https://example.com/.well-known/mercure").unwrap();
        let is_reserved = |text| Topic::new(text, &hub).unwrap().is_reserved();
        for text in [
            "/.well-known/mercure",
            "mercure/subscriptions",
            "https://example.com/.well-known/mercure/subscriptions/a/b",
            "http://other.example/.well-known/mercure/x",
            "/.well-known/x/../mercure/x",
            "/.well-known/%6dercure",
            "/.well-known\\mercure",
            "?a=b",
        ] {
            assert!(is_reserved(text), "{text}");
        }
        for text in ["a", "https://example.com/books/1", "urn:mercure", "https://[", "//"] {
            assert!(!is_reserved(text), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        let hub = Hub::new("https://example.com/.well-known/mercure").unwrap();
        let refuse = |text: &str| Topic::new(text, &hub).unwrap_err().to_string();
        assert_eq!(refuse(""), "the topic is empty");
        assert_eq!(refuse(&"x".repeat(2049)), "the topic has 2049 bytes; the limit is 2048");
        assert_eq!(refuse("a\nb"), "the topic has U+000A, a control or format character");
        assert!(refuse("*").contains("reserved"));
    }
}
