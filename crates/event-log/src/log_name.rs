//! The names of logs.

use std::fmt;
use std::sync::Arc;

use crate::Topic;

/// The name of a log, cheap to clone: that of its only topic, or for a [space](crate::Spaces) its prefix and `**`,
/// the pattern of all its topics.
///
/// Every [`Topic`] dereferences to the name of the log that would be its own. `Spaces::log_of` tells the log that
/// has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(pub(crate) Arc<str>);

/// Ends the name of a space's log. No topic holds it.
pub(crate) const EVERYTHING: &str = "**";

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
        (!self.is_space()).then(|| Topic::of_log(self.clone()))
    }

    /// The beginning of all topics in a space, which is a topic itself; the only topic of another log.
    #[must_use]
    pub fn prefix(&self) -> Topic {
        match self.0.strip_suffix(EVERYTHING) {
            Some(prefix) => Topic::of_log(Self(prefix.into())),
            None => Topic::of_log(self.clone()),
        }
    }

    /// Returns true for the log of a space.
    #[must_use]
    pub fn is_space(&self) -> bool {
        self.0.ends_with('*')
    }

    /// Returns true if the log has this name, or is that of a space which has a topic of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        let prefix = self.0.strip_suffix(EVERYTHING);
        name == &*self.0 || prefix.is_some_and(|prefix| name.starts_with(prefix))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
