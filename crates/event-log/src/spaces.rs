//! Spaces: logs that many topics share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::log_name::EVERYTHING;
use crate::{BadTopic, LogName, Pattern, Selection, Topic};

/// The spaces of a store, each a prefix: all topics that begin with it share one log. Any other topic has a log of its
/// own. Cheap to clone.
///
/// Every node of a store has the same spaces, since they decide where a topic is.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Spaces(Option<Arc<[Space]>>);

/// A prefix of topics, as the name of the log that they share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Space(LogName);

/// A list of prefixes that are not spaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpace {
    /// The prefix is none of topics.
    #[error("space {0:?}: {1}")]
    Topic(String, BadTopic),
    /// The prefix does not end with a slash, so it would cut a segment.
    #[error("space {0:?} does not end with \"/\"")]
    Segment(String),
    /// The prefix is so long that no topic or pattern fits behind it.
    #[error("space {0:?} has {length} bytes; the limit is {max}", length = .0.len(), max = Spaces::PREFIX_MAX)]
    TooLong(String),
    /// One space lies in another.
    #[error("space {0:?} lies in space {1:?}: a topic can be in one only")]
    Nested(String, String),
    /// The list is longer than [`Spaces::MAX`].
    #[error("{0} spaces; the limit is {max}", max = Spaces::MAX)]
    TooMany(usize),
}

/// A pattern of topics that do not share a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?} lies in no space: {}", .declared.remedy())]
pub struct NoSpace {
    /// The pattern.
    pub pattern: Pattern,
    /// The spaces that there are.
    pub declared: Spaces,
}

/// One log of a subscription, and the events in it that the subscriber wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The log.
    pub log: LogName,
    /// The selected events; `None` is all.
    pub selection: Option<Selection>,
}

impl Spaces {
    /// Spaces of one store.
    pub const MAX: usize = 64;
    /// The longest prefix, in bytes.
    pub const PREFIX_MAX: usize = 128;
    /// No spaces.
    pub const NONE: Self = Self(None);

    /// Spaces with these prefixes, in any order; repeated ones count once.
    ///
    /// # Errors
    /// A prefix is none, or lies in another one, or there are too many.
    pub fn new<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> Result<Self, BadSpace> {
        let mut spaces = prefixes.into_iter().map(Space::new).collect::<Result<Vec<_>, _>>()?;
        spaces.sort_by(|a, b| a.prefix().cmp(b.prefix()));
        spaces.dedup();
        if spaces.len() > Self::MAX {
            return Err(BadSpace::TooMany(spaces.len()));
        }
        // A prefix stands directly before those that begin with it, or before one that does.
        if let Some([outer, inner]) =
            spaces.array_windows().find(|[a, b]: &&[Space; 2]| b.prefix().starts_with(a.prefix()))
        {
            return Err(BadSpace::Nested(inner.prefix().into(), outer.prefix().into()));
        }
        Ok(Self((!spaces.is_empty()).then(|| spaces.into())))
    }

    /// The prefixes, sorted.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.all().iter().map(Space::prefix)
    }

    /// Returns true if there are no spaces.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The log of a topic.
    #[must_use]
    pub fn log_of(&self, topic: &Topic) -> LogName {
        self.log_at(topic.as_str()).unwrap_or_else(|| (**topic).clone())
    }

    /// Returns true if a topic shares its log.
    #[must_use]
    pub fn has(&self, topic: &Topic) -> bool {
        self.log_at(topic.as_str()).is_some()
    }

    /// The logs of a subscription to topics and patterns, sorted, each once. One cursor position stands for each.
    ///
    /// # Errors
    /// A pattern lies in no space.
    pub fn parts(&self, topics: Vec<Topic>, patterns: Vec<Pattern>) -> Result<Vec<Part>, NoSpace> {
        let mut logs = BTreeMap::<LogName, (Vec<Topic>, Vec<Pattern>)>::new();
        for topic in topics {
            logs.entry(self.log_of(&topic)).or_default().0.push(topic);
        }
        for pattern in patterns {
            match self.log_at(pattern.as_str()) {
                Some(log) => logs.entry(log).or_default().1.push(pattern),
                None => return Err(NoSpace { pattern, declared: self.clone() }),
            }
        }
        let part = |(log, (topics, patterns)): (LogName, (Vec<_>, Vec<Pattern>))| {
            let is_whole = !log.is_space() || patterns.iter().any(|p| p.as_str() == log.as_str());
            let selection = (!is_whole).then(|| Selection::new(topics, patterns));
            Part { log, selection }
        };
        Ok(logs.into_iter().map(part).collect())
    }

    /// The log of the space in which a topic or a pattern lies.
    fn log_at(&self, text: &str) -> Option<LogName> {
        let space = self.all().iter().find(|space| text.starts_with(space.prefix()))?;
        Some(space.0.clone())
    }

    fn all(&self) -> &[Space] {
        self.0.as_deref().unwrap_or_default()
    }

    fn remedy(&self) -> String {
        let declare = "a pattern needs a space, which --space PREFIX/ declares on every node";
        match self.is_empty() {
            true => format!("{declare}; there is none"),
            false => format!("{declare}; there are {self}"),
        }
    }
}

impl Space {
    fn new(prefix: &str) -> Result<Self, BadSpace> {
        if prefix.len() > Spaces::PREFIX_MAX {
            return Err(BadSpace::TooLong(prefix.to_owned()));
        }
        Topic::new(prefix).map_err(|bad| BadSpace::Topic(prefix.to_owned(), bad))?;
        if !prefix.ends_with('/') {
            return Err(BadSpace::Segment(prefix.to_owned()));
        }
        Ok(Self(LogName(format!("{prefix}{EVERYTHING}").into())))
    }

    fn prefix(&self) -> &str {
        self.0.as_str().trim_end_matches('*')
    }
}

/// The prefixes, separated by commas.
impl fmt::Display for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, prefix) in self.prefixes().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{prefix}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.prefixes()).finish()
    }
}

impl Part {
    /// Everything in the log of its only topic.
    #[must_use]
    pub fn of(topic: &Topic) -> Self {
        Self { log: (**topic).clone(), selection: None }
    }

    /// The topics and then the patterns that the subscriber has asked for in this log.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let whole = self.selection.is_none().then(|| self.log.as_str());
        whole.into_iter().chain(self.selection.iter().flat_map(Selection::texts))
    }

    /// The name for a message: that of the only topic or pattern, or else of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        let mut texts = self.texts();
        match (texts.next(), texts.next()) {
            (Some(only), None) => only,
            _ => self.log.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn spaces() -> Spaces {
        Spaces::new(["orders/", "a/b/", "orders/"]).unwrap()
    }

    #[test]
    fn topics_of_a_space_share_its_log() {
        for (name, log) in [
            ("orders/1", "orders/**"),
            ("orders/1/lines", "orders/**"),
            ("orders/", "orders/**"),
            ("orders", "orders"),
            ("orders2/1", "orders2/1"),
            ("a/b/c", "a/b/**"),
            ("a/c", "a/c"),
        ] {
            assert_eq!(spaces().log_of(&topic(name)).as_str(), log);
        }
        assert_eq!(Spaces::NONE.log_of(&topic("orders/1")).as_str(), "orders/1");
        assert_eq!(spaces().to_string(), "a/b/, orders/");
    }

    #[test]
    fn a_subscription_has_one_part_for_each_log() {
        let pattern = |text| Pattern::new(text).unwrap();
        let topics = ["orders/2", "demo", "orders/1", "demo"].map(topic).to_vec();
        let parts = spaces().parts(topics, vec![pattern("orders/*/lines")]).unwrap();
        let texts: Vec<Vec<_>> = parts.iter().map(|part| part.texts().collect()).collect();
        assert_eq!(texts, [vec!["demo"], vec!["orders/1", "orders/2", "orders/*/lines"]]);
        let names: Vec<_> = parts.iter().map(Part::name).collect();
        assert_eq!(names, ["demo", "orders/**"]);
        let selection = parts[1].selection.as_ref().unwrap();
        assert!(selection.wants(&topic("orders/1")) && selection.wants(&topic("orders/7/lines")));
        assert!(!selection.wants(&topic("orders/3")));
        // The pattern of everything needs no selection, whatever else is asked for.
        let whole = spaces().parts(vec![topic("orders/1")], vec![pattern("orders/**")]).unwrap();
        assert_eq!((whole.len(), &whole[0].selection), (1, &None));
        let one = spaces().parts(vec![topic("orders/1")], vec![]).unwrap();
        assert_eq!(one[0].name(), "orders/1");
    }

    #[test]
    fn a_pattern_outside_is_refused_with_the_remedy() {
        let parts = |spaces: Spaces, text| spaces.parts(vec![], vec![Pattern::new(text).unwrap()]);
        for outside in ["*/1", "users/*", "a/*", "**"] {
            let error = parts(spaces(), outside).unwrap_err().to_string();
            assert!(error.contains(outside) && error.contains("a/b/, orders/"), "{error}");
        }
        let error = parts(Spaces::NONE, "a/*").unwrap_err().to_string();
        assert!(error.contains("--space") && error.contains("there is none"), "{error}");
    }

    #[test]
    fn prefixes_that_are_no_spaces_are_refused() {
        let new = |list: &[&str]| Spaces::new(list.iter().copied()).unwrap_err();
        assert_eq!(new(&["orders"]), BadSpace::Segment("orders".into()));
        assert_eq!(new(&["a/b/", "a/"]), BadSpace::Nested("a/b/".into(), "a/".into()));
        assert_eq!(new(&["a/", "a-b/", "a/b/c/"]), BadSpace::Nested("a/b/c/".into(), "a/".into()));
        assert!(matches!(new(&[""]), BadSpace::Topic(..)));
        assert!(matches!(new(&["tailwater.x/"]), BadSpace::Topic(..)));
        assert!(matches!(new(&[&format!("{}/", "x".repeat(128))]), BadSpace::TooLong(_)));
        let many: Vec<_> = (0..65).map(|i| format!("{i:02}/")).collect();
        assert_eq!(Spaces::new(many.iter().map(|s| s.as_str())), Err(BadSpace::TooMany(65)));
    }
}
