//! The spaces in the store, on which all nodes agree.

use std::sync::Arc;
use std::time::Duration;

use event_log::{LogName, Spaces, Topic};
use tokio::time::sleep;

use super::{Side, Store};
use crate::agreement;
use crate::error::Failure;
use crate::keys;

/// Time between two looks at them.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pause between two tries of the first look, for which everything waits.
const FIRST_LOOK_EVERY: Duration = Duration::from_millis(20);

/// The log whose head has the spaces. Nothing is ever written to it.
fn place() -> LogName {
    (*Topic::reserved("spaces").expect("a topic's name")).clone()
}

impl Store {
    /// Leaves the spaces in the store if there are none, and compares.
    pub(crate) async fn agree(&self) -> Result<(), Failure> {
        let found = self.compare_spaces().await;
        self.agreement.note(&found);
        found
    }

    async fn compare_spaces(&self) -> Result<(), Failure> {
        let ours = self.keys().spaces();
        let mut theirs = self.stored_spaces(Side::Source).await?;
        if theirs.is_none() && !ours.is_empty() {
            self.put_spaces(ours, "NX").await?;
            theirs = self.stored_spaces(Side::Primary).await?;
        }
        match theirs.unwrap_or_default() {
            theirs if theirs == *ours => Ok(()),
            theirs => Err(Failure::Spaces { ours: ours.clone(), theirs }),
        }
    }

    /// The spaces in the store, if any node has left them.
    pub(crate) async fn stored_spaces(&self, side: Side) -> Result<Option<Spaces>, Failure> {
        const BAD: Failure = Failure::Answer("the spaces in the store are none");
        let place = place();
        let asking = redis::cmd("GET").arg(self.keys().head(&place)).take();
        let replies = self.ask(side, keys::partition(&place), &[asking]).await?;
        let reply = replies.into_iter().next().unwrap_or_default();
        let stored: Option<String> = redis::from_redis_value(reply).map_err(|_| BAD)?;
        stored.map(|stored| agreement::parse(&stored).map_err(|_| BAD)).transpose()
    }

    /// Leaves spaces in the store, in place of others unless `condition` is `NX`.
    pub(crate) async fn put_spaces(&self, spaces: &Spaces, condition: &str) -> Result<(), Failure> {
        let place = place();
        let mut putting = redis::cmd("SET");
        putting.arg(self.keys().head(&place)).arg(agreement::text(spaces));
        if !condition.is_empty() {
            putting.arg(condition);
        }
        self.ask(Side::Primary, keys::partition(&place), &[putting]).await.map(drop)
    }
}

/// Compares the spaces of this node with those in the store, until the log closes.
pub(crate) async fn watch(store: Arc<Store>) {
    loop {
        if let Err(failure) = store.agree().await
            && !matches!(failure, Failure::Spaces { .. })
        {
            tracing::debug!(%failure, "the spaces were not compared");
        }
        let is_first = !store.agreement.is_known();
        sleep(if is_first { FIRST_LOOK_EVERY } else { LOOK_EVERY }).await;
    }
}
