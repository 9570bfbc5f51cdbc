//! The commands to Redis: appends on a lane to each primary, reads over a pool. Every wait has an end.

use std::sync::Arc;
use std::time::Duration;

use event_log::{
    Bounds, Event, Gap, Generation, LogName, Page, Position, Reason, Seek, Sought, classify,
};
use tokio::time::timeout;

use crate::access::Access;
use crate::address::Address;
use crate::agreement::Agreement;
use crate::config::Config;
use crate::error::{Failure, Meaning};
use crate::formats::Formats;
use crate::head::LogHead;
use crate::keys::{self, Keys};
use crate::life::Life;
use crate::publish::Publisher;
use crate::refusals::Refusals;
use crate::stats::Stats;
use crate::topology::Topology;
use crate::witness::Witnesses;

mod append;
mod ask;
mod bookmark;
mod checks;
mod committed;
mod echo;
mod heads;
mod inventory;
mod label;
pub(crate) mod landmarks;
mod lane;
mod leases;
mod patience;
mod peer;
mod proof;
mod raise;
mod rights;
pub(crate) mod spaces;
pub(crate) mod view;
mod writer;

pub(crate) use committed::Committed;
pub(crate) use heads::HeadRead;
pub use inventory::StoredTopic;
use peer::{Appending, Part, Peers};
use proof::Proof;
use view::Range;

/// Most events that one read brings. It bounds the memory of a read.
pub(crate) const PAGE: usize = 128;
/// Events that the first read from the end asks for, before their size is known.
const PROBE: usize = 32;
/// Bytes of events that fill a window.
pub(crate) const WINDOW_BYTES: usize = 1024 * 1024;

/// The server that is asked about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Its primary, which knows all of it.
    Primary,
    /// The server that this node reads from and that its feed comes from. It may be a little behind: what it has, is
    /// so, and only the primary knows what there is not.
    Source,
}

/// The commands that the log needs, on every primary of the deployment.
#[derive(Debug)]
pub(crate) struct Store {
    keys: Keys,
    topology: Arc<Topology>,
    peers: Peers,
    publisher: Arc<Publisher>,
    witnesses: Arc<Witnesses>,
    proof: Proof,
    refusals: Refusals,
    formats: Formats,
    agreement: Agreement,
    stats: Arc<Stats>,
    timeout: Duration,
    retry: Duration,
}

/// The events that one read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReadPlan {
    /// Most events.
    pub(crate) count: usize,
    /// Set if Redis is to stop at a weight.
    pub(crate) fit: Option<Fit>,
}

/// The weight at which Redis ends a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fit {
    /// Most weight of the events together, in bytes.
    pub(crate) weight: usize,
    /// Events that Redis looks at first.
    pub(crate) first: usize,
}

/// The page after a position, and the head that the position was compared with.
#[derive(Debug)]
pub(crate) struct Behind {
    /// The head of the topic.
    pub(crate) head: Position,
    /// The part of it that readers may see.
    committed: Committed,
    /// True if the events end where readers may not see more yet.
    pub(crate) is_cut: bool,
    /// The gap before the events.
    pub(crate) gap: Option<Gap>,
    /// The primary that calls the reader's position lost, if it does.
    lost_at: Option<Address>,
    pub(crate) events: Vec<Event>,
}

impl Behind {
    /// The page for a reader. A reader whose gap goes beyond what is committed would not be safe there, and hears of it
    /// later.
    pub(crate) fn into_page(self) -> Page {
        let is_safe = |gap: &Gap| self.committed.has(gap.resume);
        Page { gap: self.gap.filter(is_safe), events: self.events }
    }
}

/// A topic's newest events, without holes and up to what is committed.
#[derive(Debug)]
pub(crate) struct Window {
    /// The head of the topic. The events end before it if not all of them are committed.
    pub(crate) head: Position,
    /// The position before the first event; the head if there is none.
    pub(crate) before: Position,
    pub(crate) ended: bool,
    pub(crate) events: Vec<Event>,
}

impl Window {
    /// Returns true if the topic has ended and no event says so.
    pub(crate) fn ended_at_once(&self) -> bool {
        self.ended && self.events.is_empty()
    }
}

impl Store {
    pub(crate) fn new(
        config: &Config,
        access: Access,
        topology: &Arc<Topology>,
        witnesses: &Arc<Witnesses>,
        stats: &Arc<Stats>,
        life: &Life,
    ) -> Self {
        let publisher = Arc::new(Publisher::new(config));
        let proof = Proof::new(config);
        let appending = Appending {
            publisher: Arc::clone(&publisher),
            witnesses: Arc::clone(witnesses),
            proof,
        };
        Self {
            keys: Keys::new(&config.prefix, &config.spaces),
            topology: Arc::clone(topology),
            peers: Peers::new(config, access, Arc::clone(topology), appending, stats, life),
            publisher,
            witnesses: Arc::clone(witnesses),
            proof,
            refusals: Refusals::new(stats),
            formats: Formats::default(),
            agreement: Agreement::default(),
            stats: Arc::clone(stats),
            timeout: config.timeout,
            retry: config.retry,
        }
    }

    /// The names of the log's keys.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Refuses to go on once the log was seen in a format that this version does not know.
    pub(crate) fn check_format(&self) -> Result<(), Failure> {
        self.formats.check()
    }

    /// Refuses to go on while the store has other spaces than this node.
    pub(crate) async fn check_spaces(&self) -> Result<(), Failure> {
        self.agreement.check(self.timeout).await
    }

    /// Closes the connections to servers that are neither primaries nor sources any more, until the log closes.
    pub(crate) async fn follow_topology(&self) {
        let mut map = self.topology.subscribe();
        let mut known = Arc::clone(&map.borrow_and_update());
        while map.changed().await.is_ok() {
            let now = Arc::clone(&map.borrow_and_update());
            self.peers.retain(&now);
            if !now.has_owners_of(&known) {
                self.stats.topology_changed();
                self.witnesses.doubt();
            }
            known = now;
        }
    }

    /// Makes new connections with the credentials of the moment, until the log closes.
    pub(crate) async fn follow_credentials(&self) {
        let mut credentials = self.peers.access().credentials.clone();
        while credentials.changed().await.is_ok() {
            self.peers.renew();
        }
    }

    /// Waits for a turn among the readers of a topic's source, then does `work`, all within the
    /// time-out.
    pub(crate) async fn read<T>(
        &self,
        topic: &LogName,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.timeout, async {
            // Without a source the work itself finds the reason.
            let source = self.server_on(Side::Source, keys::partition(topic));
            let peer = source.ok().and_then(|(source, part)| self.peers.get(&source, part).ok());
            let _turn = match &peer {
                Some(peer) => Some(peer.read_turn().await?),
                None => None,
            };
            work.await
        })
        .await
        .unwrap_or(Err(Failure::Late(self.timeout)))
    }

    /// The server on one side of a partition, and its part.
    fn server_on(&self, side: Side, partition: u32) -> Result<(Address, Part), Failure> {
        let server = match side {
            Side::Primary => self.topology.owner(partition)?,
            Side::Source => self.topology.source(partition)?,
        };
        let is_primary =
            side == Side::Primary || self.topology.map().owner(partition) == Some(&server);
        Ok((server, if is_primary { Part::Primary } else { Part::Replica }))
    }

    /// Reports the meaning of a failure to the topology, the witnesses and the peer.
    fn take_evidence(&self, asked: &Address, meaning: &Meaning) {
        if matches!(meaning, Meaning::Elsewhere | Meaning::Unsure) {
            self.witnesses.doubt();
        }
        match meaning {
            Meaning::Moved { slot, to } => self.topology.moved(*slot, to),
            Meaning::Elsewhere => {
                self.peers.distrust(asked);
                self.topology.doubt_source(asked);
                self.topology.suspect();
            }
            Meaning::Unsure => {
                self.topology.doubt_source(asked);
                self.topology.suspect();
            }
            Meaning::NotYet => self.topology.suspect(),
            Meaning::Ask { .. } | Meaning::Final => {}
        }
    }

    /// Reads the events after `after` in a turn, and takes the word of a primary that the position is lost only if that
    /// still is the primary. A successor is asked once: the reader comes back for another one.
    pub(crate) async fn confirmed_behind(
        &self,
        topic: &LogName,
        after: Position,
        plan: ReadPlan,
    ) -> Result<Behind, Failure> {
        let found = self.read(topic, self.behind(topic, after, plan)).await?;
        // Without a turn, so that other readers read meanwhile.
        if self.confirm_loss(topic, &found).await.is_ok() {
            return Ok(found);
        }
        let found = self.read(topic, self.behind(topic, after, plan)).await?;
        self.confirm_loss(topic, &found).await?;
        Ok(found)
    }

    /// Reads the events after `after`.
    pub(crate) async fn behind(
        &self,
        topic: &LogName,
        after: Position,
        plan: ReadPlan,
    ) -> Result<Behind, Failure> {
        let plan = ReadPlan { count: plan.count.clamp(1, PAGE), ..plan };
        let next = match plan.fit {
            Some(fit) => Range::Fitting(after, plan.count, fit),
            None => Range::After(after, plan.count),
        };
        let (head, [mut events], committed) = self.view_committed(topic, [next]).await?;
        if let Some(head) = head
            && classify(after, Some(head.generation), None, first(&events)).is_none()
        {
            cut_at_hole(&mut events, after);
            let is_cut = committed.cut(&mut events);
            let head = head.position();
            return Ok(Behind { head, committed, is_cut, gap: None, lost_at: None, events });
        }
        // A gap, or no head: read everything that tells which gap, where nothing is missing that there is.
        let owner = self.topology.owner(keys::partition(topic))?;
        let (head, landmarks, known) =
            self.survey_primary(topic, Seek::Earliest, Some(next)).await?;
        let head = LogHead::at(head, landmarks.map(|marks| (marks.newest, marks.ended)));
        let generation = head.map(|head| head.generation);
        let oldest = landmarks.map(|marks| marks.oldest);
        let head = head.map_or(Position::START, |head| head.position());
        let gap = classify(after, generation, oldest, first(&known));
        if let Some(gap) = gap {
            // A replaced primary lacks events of its successor. What it has trimmed is gone on both.
            let lost_at = Some(owner).filter(|_| gap.reason != Reason::Trimmed);
            let (is_cut, gap, events) = (false, Some(gap), Vec::new());
            return Ok(Behind { head, committed, is_cut, gap, lost_at, events });
        }
        // Of the primary's events the source may lack some: a reader that is ahead of it waits.
        let source = self.server_on(Side::Source, keys::partition(topic));
        let reads_primary = matches!(source, Ok((_, Part::Primary)));
        if reads_primary {
            events = known;
        }
        cut_at_hole(&mut events, after);
        let lacks = !reads_primary && events.last().is_none_or(|last| last.position() < head);
        let is_cut = committed.cut(&mut events) || lacks && after < head;
        Ok(Behind { head, committed, is_cut, gap: None, lost_at: None, events })
    }

    /// Reads the newest events of a topic, [`PAGE`] at most, fewer if they are large.
    pub(crate) async fn window(&self, topic: &LogName) -> Result<Window, Failure> {
        let newest = [Range::Newest(PROBE)];
        let (head, [mut events], committed) = self.view_committed(topic, newest).await?;
        let Some(head) = LogHead::of(head, events.first()) else {
            return Ok(Window {
                head: Position::START,
                before: Position::START,
                ended: false,
                events,
            });
        };
        let more = fitting(&events).saturating_sub(events.len());
        if let Some(oldest) = events.last().filter(|_| events.len() == PROBE && more > 0) {
            let older = Range::Before(oldest.position(), more);
            events.extend(self.range(topic, older).await?);
        }
        let end = match committed.cut(&mut events) {
            true => events.first().map(Event::position),
            false => Some(head.position()).filter(|head| committed.has(*head)),
        };
        let end = end.unwrap_or_else(|| committed.clamp(head.position()));
        let whole = events
            .iter()
            .zip(events.iter().skip(1))
            .take_while(|(e, older)| follows(older.position(), e.position()));
        let whole = 1 + whole.count();
        events.truncate(whole);
        if events.first().is_none_or(|newest| newest.position() != end) {
            events.clear();
        }
        events.reverse();
        let before = first(&events).map_or(end, Position::before);
        let ended = head.ended && end == head.position();
        Ok(Window { head: head.position(), before, ended, events })
    }

    /// Finds the position at which a reader without a cursor begins. Reads no data of events.
    pub(crate) async fn seek(&self, topic: &LogName, seek: Seek) -> Result<Sought, Failure> {
        let (head, landmarks) = self.landmarks(topic, seek).await?;
        let newest = landmarks.map(|marks| (marks.newest, marks.ended));
        let Some(head) = LogHead::at(head, newest) else {
            return Ok(Sought { position: Position::START, gap: None });
        };
        let committed = self.committed_now(topic, head).await?;
        let (head, oldest) = (head.position(), landmarks.map(|marks| marks.oldest));
        let begin = landmarks.and_then(|marks| marks.begin);
        let position = committed.clamp(begin.map_or(head, Position::before));
        Ok(Sought { position, gap: Gap::since(seek, oldest, head, position) })
    }

    /// Reads the head, the oldest event and the length of a topic.
    pub(crate) async fn bounds(&self, topic: &LogName) -> Result<Option<Bounds>, Failure> {
        let (head, landmarks) = self.landmarks(topic, Seek::Earliest).await?;
        let newest = landmarks.map(|marks| (marks.newest, marks.ended));
        let Some(head) = LogHead::at(head, newest) else { return Ok(None) };
        if head.position().n == 0 {
            return Ok(None);
        }
        let committed = self.committed_now(topic, head).await?;
        let LogHead { generation: Generation { head: newest, .. }, ended, .. } = head;
        let head = committed.clamp(newest);
        let ended = ended && head == newest;
        let oldest = landmarks.map(|marks| marks.oldest).filter(|oldest| *oldest <= head);
        let length = oldest.map_or(0, |oldest| (head.n + 1).saturating_sub(oldest.n));
        let broken = landmarks.is_some_and(|marks| marks.broken && marks.newest == head);
        Ok(Some(Bounds { head, oldest, length, ended, broken }))
    }
}

fn first(events: &[Event]) -> Option<Position> {
    events.first().map(Event::position)
}

/// The number of events like these that a read may bring, to hold about a window's bytes.
fn fitting(events: &[Event]) -> usize {
    let weight: usize = events.iter().map(Event::weight).sum();
    let mean = weight.checked_div(events.len()).unwrap_or(0);
    (WINDOW_BYTES / mean.max(1)).clamp(1, PAGE)
}

/// Returns true if `next` is the successor of `position`.
pub(crate) fn follows(position: Position, next: Position) -> bool {
    position.n.checked_add(1) == Some(next.n) && next.ms >= position.ms
}

/// Ends a page before a hole in the stream (a deleted entry). The next read announces the hole.
fn cut_at_hole(events: &mut Vec<Event>, after: Position) {
    let mut last = after;
    let whole = events.iter().take_while(|event| {
        let whole = follows(last, event.position());
        last = event.position();
        whole
    });
    let whole = whole.count();
    events.truncate(whole);
}
