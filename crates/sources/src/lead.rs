//! The lead: of several relays with the same source one copies it.
//!
//! The lead is a bookmark in a reserved topic, "NODE BEAT LAST PLACE", which moves with each beat. Whoever sees it stand
//! still for [`TAKEN_OVER`] takes it, or at once if its holder has given it back. A relay that believes wrongly to lead does no harm: the bookmarks beside the events
//! decide. The place in the lead is the checkpoint of a source with many topics, and each beat's event is the source's
//! state for people.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Advance, Append, AppendError, Bookmark, Key, Log, NewEvent, ReadError, Topic};
use tokio::time::{Instant, sleep, timeout};

use crate::place::Place;

/// Time between two beats.
pub(crate) const BEAT: Duration = Duration::from_secs(2);
/// The time without a beat after which another relay takes over.
pub(crate) const TAKEN_OVER: Duration = Duration::from_secs(10);
/// The name of the node in a lead that was given back.
const NOBODY: &str = "-";
/// The longest wait for the log.
const LOG_MAX: Duration = Duration::from_secs(5);

/// The place of all states: `tailwater.sources`.
pub(crate) fn topic() -> Topic {
    Topic::reserved("sources").expect("it is a topic")
}

/// The lead of a source, held by this relay.
#[derive(Debug)]
pub(crate) struct Lead {
    log: Arc<dyn Log>,
    source: Key,
    node: String,
    beat: u64,
    held: Bookmark,
    /// Everything of the source up to here is stored.
    pub(crate) checkpoint: Option<Place>,
    /// The order of the last event before the checkpoint, for a source with one topic.
    pub(crate) last: Option<[u64; 3]>,
}

/// A beat that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Another relay leads.
    ToAnother,
    /// The log is away. The lead may still be held.
    Unknown(String),
}

/// A lead as it is written.
struct Written {
    node: String,
    beat: u64,
    last: Option<[u64; 3]>,
    checkpoint: Option<Place>,
}

impl Written {
    fn parse(bookmark: &Bookmark) -> Option<Self> {
        let mut parts = bookmark.as_str().splitn(4, ' ');
        let (node, beat) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let last = parts.next().and_then(|last| Place::parse(&format!("{last} ")));
        let last = last.map(|last| last.order());
        Some(Self { node, beat, last, checkpoint: parts.next().and_then(Place::parse) })
    }

    fn bookmark(&self) -> Bookmark {
        let place = self.checkpoint.as_ref().map(Place::bookmark);
        let place = place.as_ref().map_or("", Bookmark::as_str);
        let last = self.last.map(|[era, major, minor]| format!("{era}.{major}.{minor}"));
        let last = last.as_deref().unwrap_or("-");
        let text = format!("{} {} {last} {place}", self.node, self.beat);
        Bookmark::new(&text).expect("a name, a number and a place are a bookmark")
    }
}

impl Lead {
    /// Waits until this relay leads.
    pub(crate) async fn take(log: &Arc<dyn Log>, source: &Key, node: &str) -> Self {
        let mut seen: Option<(Option<Bookmark>, Instant)> = None;
        loop {
            if let Ok(found) = read(log, source).await {
                let stands = match &seen {
                    Some((before, since)) if *before == found => since.elapsed() >= TAKEN_OVER,
                    _ => {
                        seen = Some((found.clone(), Instant::now()));
                        false
                    }
                };
                let written = found.as_ref().and_then(Written::parse);
                let is_free = written.as_ref().is_none_or(|w| w.node == node || w.node == NOBODY);
                if is_free || stands {
                    let (beat, last, checkpoint) =
                        written.map_or((0, None, None), |w| (w.beat, w.last, w.checkpoint));
                    let next = Written { node: node.to_owned(), beat: beat + 1, last, checkpoint };
                    let held = next.bookmark();
                    let took = append(log, source, found, held.clone(), "{}".into()).await;
                    if took.is_ok() {
                        let Written { node, beat, last, checkpoint } = next;
                        let (log, source) = (Arc::clone(log), source.clone());
                        return Self { log, source, node, beat, held, checkpoint, last };
                    }
                }
            }
            sleep(BEAT).await;
        }
    }

    /// Shows that this relay leads, and stores the checkpoint and the state, which is JSON.
    ///
    /// # Errors
    /// Another relay leads, or the log is away.
    pub(crate) async fn beat(&mut self, state: String) -> Result<(), Lost> {
        let next = Written {
            node: self.node.clone(),
            beat: self.beat + 1,
            last: self.last,
            checkpoint: self.checkpoint.clone(),
        };
        let to = next.bookmark();
        append(&self.log, &self.source, Some(self.held.clone()), to.clone(), state).await?;
        (self.beat, self.held) = (next.beat, to);
        Ok(())
    }

    /// Lets another relay take the lead at once. If the log is away, the other waits for [`TAKEN_OVER`].
    pub(crate) async fn give_back(mut self, state: String) {
        NOBODY.clone_into(&mut self.node);
        if let Err(error) = self.beat(state).await {
            tracing::debug!(?error, source = self.source.as_str(), "the lead is not given back");
        }
    }
}

async fn read(log: &Arc<dyn Log>, source: &Key) -> Result<Option<Bookmark>, ReadError> {
    let late = |_| Err(ReadError::Unavailable("no answer".to_owned()));
    timeout(LOG_MAX, log.bookmark(&topic(), source)).await.unwrap_or_else(late)
}

async fn append(
    log: &Arc<dyn Log>,
    source: &Key,
    from: Option<Bookmark>,
    to: Bookmark,
    state: String,
) -> Result<(), Lost> {
    let event = NewEvent { data: state.into(), ..NewEvent::default() };
    let advance = Some(Advance { source: source.clone(), from, to });
    let append = Append { advance, ..Append::new(topic(), event) };
    let answer = timeout(LOG_MAX, log.append(vec![append])).await;
    let answer = answer.map_err(|_| Lost::Unknown("no answer".to_owned()))?.pop();
    match answer.expect("a log answers for every event") {
        Ok(_) => Ok(()),
        Err(AppendError::Moved { .. }) => Err(Lost::ToAnother),
        Err(error) => Err(Lost::Unknown(error.to_string())),
    }
}
