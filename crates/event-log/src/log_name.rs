//! The names of logs.

use std::fmt;
use std::sync::Arc;

/// The name of a log, cheap to clone: that of its only topic, or for a [space](crate::Spaces) its prefix and `**`,
/// the pattern of all its topics.
///
/// Every [`Topic`](crate::Topic) dereferences to the name of the log that would be its own. `Spaces::log_of` tells the log that
/// has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(pub(crate) Arc<str>);

/// Ends the name of a space's log. No topic holds it.
pub(crate) const EVERYTHING: &str = "**";

impl LogName {
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
