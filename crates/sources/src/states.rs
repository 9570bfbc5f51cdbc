//! The states of all sources on a log, for people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, Key, Limit, Log, NewEvent, ReadError, Seek};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::copier::Copier;
use crate::lead;
use crate::stats::Stats;

/// The state of a source as its relay told it last. Relays of other versions may tell less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SourceState {
    /// The name of the source, with `#` and the number of its part if it has parts.
    pub source: String,
    /// Its kind, such as `postgres`.
    pub kind: String,
    /// The relay that told it.
    pub node: String,
    /// `connecting`, `copying`, `stopped`, `ended`, or `standby` after the relay has left.
    pub state: String,
    /// Events that this relay has copied since it started.
    pub copied: u64,
    /// Events that came again.
    pub duplicates: u64,
    /// Records that cannot be events.
    pub refused: u64,
    /// Times that the source had lost events.
    pub gaps: u64,
    /// The number of these events, as far as it was told.
    pub missed: u64,
    /// Times that the source was opened again.
    pub reconnects: u64,
    /// Events that the source has and that are not copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_events: Option<u64>,
    /// Bytes that the source keeps for the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// The last failure, until the source is copied again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The time of the state by the log's clock, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Most entries that are read: at a beat each 2 s, the last 20 s of a hundred sources.
const READ_MAX: usize = 1000;
/// Most bytes of a page.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// The longest wait for an answer of the log.
const LOG_MAX: Duration = Duration::from_secs(5);

/// Reads the newest state of each source, by name. A source whose relays are gone is there as long as the last
/// [`READ_MAX`] entries have it.
///
/// # Errors
/// The log does not answer.
pub async fn states(log: &dyn Log) -> Result<Vec<SourceState>, ReadError> {
    let late = |_| ReadError::Unavailable("no answer".to_owned());
    timeout(LOG_MAX, read(log)).await.map_err(late)?
}

async fn read(log: &dyn Log) -> Result<Vec<SourceState>, ReadError> {
    let topic = lead::topic();
    let mut after = log.seek(&topic, Seek::Last(READ_MAX as u64)).await?.position;
    let (mut newest, mut left) = (BTreeMap::new(), READ_MAX);
    while left > 0 {
        let limit = Limit { events: left, bytes: PAGE_BYTES_MAX };
        let page = log.read(&topic, after, limit).await?;
        if let Some(gap) = page.gap {
            // The newest entries are behind the gap. It counts, so that the loop ends.
            (after, left) = (gap.resume, left - 1);
            continue;
        }
        let Some(last) = page.events.last() else { break };
        after = last.position();
        left -= page.events.len().min(left);
        for event in &page.events {
            // The entry with which a relay takes the lead has no state.
            let Ok(state) = serde_json::from_str::<SourceState>(event.data()) else { continue };
            if !state.source.is_empty() {
                let time_ms = event.position().ms;
                newest.insert(state.source.clone(), SourceState { time_ms, ..state });
            }
        }
    }
    Ok(newest.into_values().collect())
}

/// The state of a copier that has ended.
pub(crate) struct LastState {
    log: Arc<dyn Log>,
    source: Key,
    kind: &'static str,
    node: String,
    stats: Stats,
}

impl LastState {
    /// The state at a later moment of a copier that runs until then.
    pub(crate) fn of(copier: &Copier) -> Self {
        Self {
            log: Arc::clone(&copier.log),
            source: copier.name.clone(),
            kind: copier.kind,
            node: copier.node.clone(),
            stats: copier.stats.clone(),
        }
    }

    /// Stores it. It is for people, and told again later, so a log that is away does not matter.
    pub(crate) async fn tell(&self) {
        let source = self.source.as_str();
        let snapshot = self.stats.snapshot(source, self.kind, &self.node);
        let data = serde_json::to_string(&snapshot).expect("numbers and texts are JSON").into();
        let append = Append::new(lead::topic(), NewEvent { data, ..NewEvent::default() });
        let told = timeout(LOG_MAX, self.log.append(vec![append])).await;
        if !matches!(told.as_deref(), Ok([Ok(_)])) {
            tracing::debug!(source, "the log did not take a state");
        }
    }
}

#[cfg(test)]
mod tests {
    use event_log::{MemoryLog, Retention};

    use super::*;

    #[tokio::test]
    async fn the_newest_state_of_each_source_is_found_among_the_last_entries() {
        let log = MemoryLog::new(Retention::default());
        let tell = async |data: String| {
            let event = NewEvent { data: data.into(), ..NewEvent::default() };
            log.append(vec![Append::new(lead::topic(), event)]).await.pop().unwrap().unwrap();
        };
        assert_eq!(states(&log).await, Ok(vec![]));
        tell("{}".to_owned()).await;
        tell("{\"source\":\"old\",\"state\":\"copying\"}".to_owned()).await;
        tell("{\"source\":\"b\",\"state\":\"stopped\",\"error\":\"e\",\"new\":1}".to_owned()).await;
        for n in 0..READ_MAX - 1 {
            tell(format!("{{\"source\":\"a\",\"copied\":{n},\"state\":\"copying\"}}")).await;
        }
        let found = states(&log).await.unwrap();
        let shown: Vec<_> =
            found.iter().map(|s| (&*s.source, &*s.state, s.copied, s.error.as_deref())).collect();
        assert_eq!(shown, [("a", "copying", 998, None), ("b", "stopped", 0, Some("e"))]);
        assert!(found.iter().all(|state| state.time_ms > 0));
    }
}
