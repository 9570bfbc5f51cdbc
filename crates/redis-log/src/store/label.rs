//! Asks for the position of an event with a label.

use event_log::{Key, LogName, Position};

use super::{Side, Store};
use crate::error::Failure;
use crate::keys;

impl Store {
    /// Returns the position that the source has, or else the primary: the source may be behind.
    pub(crate) async fn find(
        &self,
        log: &LogName,
        label: &Key,
    ) -> Result<Option<Position>, Failure> {
        const BAD: Failure = Failure::Answer("the position of a label is none");
        for side in [Side::Source, Side::Primary] {
            let ask = self.publisher.ask_label(log, label);
            let answers = self.ask(side, keys::partition(log), &[ask]).await?;
            let answer = answers.into_iter().next().ok_or(BAD)?;
            let found: Option<String> = redis::from_redis_value(answer).map_err(|_| BAD)?;
            if let Some(found) = found {
                return Ok(Some(found.parse().map_err(|_| BAD)?));
            }
        }
        Ok(None)
    }
}
