//! The topics that a subscriber asks for, or that a token is for.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::{cmp, fmt};

use regex::bytes::Regex;

use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::pattern::{BadPattern, Pattern};
use crate::template::{self, NoTemplate};
use crate::text::{self, BadText};
use crate::topic::Topic;

/// The way in which the text of a selector is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A selector of 0.x: equal, or a URI Template.
    Topic,
    /// A selector of 1.0: the same bytes.
    Exact,
    /// A selector of 1.0: a WHATWG URL pattern.
    UrlPattern,
}

/// A selector. It is compared, ordered and hashed by its kind and its text, so it can be a key; clones share one program.
#[derive(Clone)]
pub struct Selector(Arc<Compiled>);

struct Compiled {
    kind: Kind,
    text: Box<str>,
    rule: Rule,
}

/// The test of a topic.
enum Rule {
    /// Every topic: `*`, of any kind.
    All,
    Equal,
    /// Equal, or an expansion of the template.
    Template(Box<Regex>),
    Url(Box<Pattern>),
}

/// A text that is no selector, or a list that is too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// The text is not allowed.
    #[error("a selector {0}")]
    Text(#[from] BadText),
    /// The template would cost too much.
    #[error(
        "the template {0:?} is too large: it may have {expressions} expressions of {vars} variables, and need {program} KiB",
        expressions = template::EXPRESSIONS_MAX,
        vars = template::VARIABLES_MAX,
        program = template::PROGRAM_BYTES_MAX / 1024
    )]
    Template(String),
    /// The URL pattern is malformed or would cost too much.
    #[error("the URL pattern {text:?} is refused: {reason}")]
    Pattern {
        /// The pattern.
        text: String,
        /// The reason.
        reason: BadPattern,
    },
    /// The kind has a name that is not known.
    #[error("the match type {0:?} is not supported; it is exact or urlpattern")]
    Kind(String),
}

/// Bytes that the program of a pattern counts for.
const PROGRAM_BYTES: usize = 16 * 1024;

impl Kind {
    /// The dialect that has it.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Topic => Dialect::V0,
            Self::Exact | Self::UrlPattern => Dialect::V1,
        }
    }

    /// The name of the match type; 0.x has none.
    #[must_use]
    pub const fn match_type(self) -> Option<&'static str> {
        match self {
            Self::Topic => None,
            Self::Exact => Some("exact"),
            Self::UrlPattern => Some("urlpattern"),
        }
    }

    /// The kind of a match type. The name is compared as it is.
    #[must_use]
    pub fn of_match_type(name: &str) -> Option<Self> {
        [Self::Exact, Self::UrlPattern].into_iter().find(|kind| kind.match_type() == Some(name))
    }

    /// The kind of the parameter of a subscription; `None` for any other name, even one that 1.0 reserves.
    #[must_use]
    pub fn of_parameter(name: &str) -> Option<Self> {
        match name {
            "topic" => Some(Self::Topic),
            "match" => Some(Self::Exact),
            other => other.strip_prefix("match_").and_then(Self::of_match_type),
        }
    }
}

impl Selector {
    /// The longest text, in bytes: that of a topic, so that every topic can be selected.
    pub const MAX_BYTES: usize = Topic::MAX_BYTES;
    /// Selectors of one subscription, each of which is tried for every update.
    pub const MAX: usize = 100;

    /// Checks and compiles a selector.
    ///
    /// # Errors
    /// Empty, too long, invisible characters; a URL pattern that is malformed; a pattern or a template that would cost too
    /// much.
    pub fn new(kind: Kind, text: &str, hub: &Hub) -> Result<Self, BadSelector> {
        text::check(text, Self::MAX_BYTES)?;
        let rule = match kind {
            _ if text == "*" => Rule::All,
            Kind::Exact => Rule::Equal,
            Kind::Topic => match template::compile(text) {
                Ok(regex) => Rule::Template(Box::new(regex)),
                Err(NoTemplate::Plain) => Rule::Equal,
                Err(NoTemplate::TooLarge) => return Err(BadSelector::Template(text.to_owned())),
            },
            Kind::UrlPattern => {
                let pattern = Pattern::compile(text, hub);
                let bad = |reason| BadSelector::Pattern { text: text.to_owned(), reason };
                Rule::Url(Box::new(pattern.map_err(bad)?))
            }
        };
        Ok(Self(Arc::new(Compiled { kind, text: text.into(), rule })))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The only topic that matches; `None` if there may be others.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        matches!(self.0.rule, Rule::Equal).then(|| self.as_str())
    }

    /// About the bytes that it takes. The program of a pattern counts as one of usual size.
    #[must_use]
    pub fn weight(&self) -> usize {
        let program = match self.0.rule {
            Rule::All | Rule::Equal => 0,
            Rule::Template(_) | Rule::Url(_) => PROGRAM_BYTES,
        };
        size_of::<Compiled>() + self.0.text.len() + program
    }

    /// Returns true if a topic matches, in time linear in the topic's length.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.0.rule {
            Rule::All => true,
            Rule::Equal => *self.0.text == *topic.as_str(),
            Rule::Template(regex) => {
                *self.0.text == *topic.as_str() || regex.is_match(topic.as_str().as_bytes())
            }
            Rule::Url(pattern) => pattern.matches(topic),
        }
    }

    fn key(&self) -> (Kind, &str) {
        (self.0.kind, &self.0.text)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Selector {}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Selector {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.0.kind, self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    fn matches(kind: Kind, selector: &str, topic: &str) -> bool {
        let selector = Selector::new(kind, selector, &hub()).unwrap();
        selector.matches(&Topic::new(topic, &hub()).unwrap())
    }

    #[test]
    fn a_star_is_every_topic_of_every_kind() {
        for kind in [Kind::Topic, Kind::Exact, Kind::UrlPattern] {
            assert!(matches(kind, "*", "https://["), "{kind:?}");
        }
    }

    #[test]
    fn a_selector_of_one_topic_is_known() {
        let exact = |kind, text| Selector::new(kind, text, &hub()).unwrap().exact().is_some();
        assert!(exact(Kind::Topic, "/books/1") && exact(Kind::Exact, "/books/{id}"));
        for (kind, text) in [
            (Kind::Topic, "*"),
            (Kind::Exact, "*"),
            (Kind::Topic, "/books/{id}"),
            // Relative to the hub it matches in two spellings.
            (Kind::UrlPattern, "/books/1"),
        ] {
            assert!(!exact(kind, text), "{text}");
        }
    }

    #[test]
    fn each_kind_reads_the_text_in_its_own_way() {
        let (template, pattern) = ("/books/{id}", "/books/:id");
        assert!(matches(Kind::Topic, template, "/books/1"));
        assert!(matches(Kind::Topic, template, "/books/{id}"));
        assert!(!matches(Kind::Topic, template, "https://example.com/books/1"));
        assert!(!matches(Kind::Exact, template, "/books/1"));
        assert!(matches(Kind::Exact, template, "/books/{id}"));
        assert!(!matches(Kind::Exact, "https://example.com/a", "https://EXAMPLE.com/a"));
        assert!(matches(Kind::UrlPattern, pattern, "/books/1"));
        assert!(matches(Kind::UrlPattern, pattern, "https://example.com/books/1"));
        assert!(matches(Kind::UrlPattern, pattern, "/books/:id"));
        assert!(matches(Kind::Topic, "{", "{"));
    }

    #[test]
    fn a_selector_is_a_key_by_its_kind_and_its_text() {
        let new = |kind, text: &str| Selector::new(kind, text, &hub()).unwrap();
        let mut map = BTreeMap::new();
        for kind in [Kind::Topic, Kind::Exact, Kind::UrlPattern, Kind::Topic] {
            *map.entry(new(kind, "/a/b")).or_insert(0) += 1;
        }
        assert_eq!(map.len(), 3);
        assert_eq!(map[&new(Kind::Topic, "/a/b")], 2);
        assert!(new(Kind::Topic, "b") > new(Kind::Topic, "a"));
    }

    proptest! {
        #[test]
        fn no_text_panics(
            text in r"([a-z:/?#{}()*+\\\[\].~%@&=<>\^$|,;!0-9-]|https://|:id|\PC){1,40}",
            topic in r"(https://)?[a-z:/?#@.%\[\]]{1,20}|\PC{1,20}",
        ) {
            let Ok(topic) = Topic::new(&topic, &hub()) else { return Ok(()) };
            for kind in [Kind::Topic, Kind::Exact, Kind::UrlPattern] {
                let Ok(selector) = Selector::new(kind, &text, &hub()) else { continue };
                let matches = selector.matches(&topic);
                prop_assert!(kind != Kind::Exact || matches == (text == topic.as_str() || text == "*"));
            }
        }

        #[test]
        fn a_template_matches_what_it_expands_to(value in "[A-Za-z0-9._~-]{0,9}", other in "[a-z]{1,9}") {
            for (template, topic, expected) in [
                ("/a/{x}/b", format!("/a/{value}/b"), true),
                ("/a{/x,y}", format!("/a/{value}/{other}"), true),
                ("/a{?x,y}", format!("/a?y={value}"), true),
                ("/a{?x,y}", format!("/a?x={value}&y={other}"), true),
                ("/a/{+x}", format!("/a/{value}/{other}?{value}"), true),
                ("/a/{x}", format!("/a/{value}/{other}"), false),
            ] {
                let selector = Selector::new(Kind::Topic, template, &hub()).unwrap();
                let topic = Topic::new(&topic, &hub()).unwrap();
                prop_assert_eq!(selector.matches(&topic), expected, "{} {:?}", template, topic);
            }
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_the_limit() {
        let refuse = |kind, text: &str| Selector::new(kind, text, &hub()).unwrap_err().to_string();
        assert_eq!(refuse(Kind::Topic, ""), "a selector is empty");
        assert_eq!(
            refuse(Kind::Exact, &"x".repeat(2049)),
            "a selector has 2049 bytes; the limit is 2048"
        );
        assert_eq!(
            refuse(Kind::Topic, "{a:9999}"),
            "the template \"{a:9999}\" is too large: it may have 32 expressions of 8 variables, and need 128 KiB"
        );
        assert!(refuse(Kind::UrlPattern, "/:").starts_with("the URL pattern \"/:\" is refused: "));
    }
}
