//! Asks for the bookmark of a source.

use event_log::{Bookmark, Key, Topic};

use super::{Side, Store};
use crate::error::Failure;
use crate::{keys, publish};

impl Store {
    /// Returns the bookmark that the primary has: a copier that began at an older one would be refused.
    pub(crate) async fn bookmark(
        &self,
        topic: &Topic,
        source: &Key,
    ) -> Result<Option<Bookmark>, Failure> {
        let log = self.keys.spaces().log_of(topic);
        let ask = self.publisher.ask_bookmark(topic, source);
        let answers = self.ask(Side::Primary, keys::partition(&log), &[ask]).await?;
        publish::stored_bookmark(answers.into_iter().next())
    }
}
