//! Sends markers to the channels of topics.

use event_log::LogName;

use super::{Side, Store};
use crate::error::Failure;
use crate::keys;
use crate::server::ServerInfo;

impl Store {
    /// Sends a marker to a topic's channel, on a server that calls itself a primary. Nothing is stored,
    /// so a server without memory takes it too.
    pub(crate) async fn send_echo(&self, topic: &LogName, marker: &str) -> Result<(), Failure> {
        let role = redis::cmd("INFO").arg("replication").take();
        let message = redis::cmd("SPUBLISH").arg(self.keys.stream(topic)).arg(marker).take();
        let replies = self.ask(Side::Primary, keys::partition(topic), &[role, message]).await?;
        let info = replies.into_iter().next().unwrap_or_default();
        let info: String =
            redis::from_redis_value(info).map_err(|_| Failure::Answer("INFO is no text"))?;
        Ok(ServerInfo::parse(&info).refuse_replica()?)
    }
}
