//! Commands: what is asked of Redis, over a pool of connections, with an end to every wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_redis::{Connection, Hook, HookError, Manager, Pool, Runtime};
use event_log::{
    Append, AppendError, Bounds, Event, Gap, Generation, Page, Position, Receipt, Seek, Sought,
    Topic, classify,
};
use redis::AsyncConnectionConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Config;
use crate::durability::Durability;
use crate::error::Failure;
use crate::head::Head;
use crate::publish::{self, Publisher};

mod heads;
mod server;
mod view;

pub(crate) use server::Server;
use view::Range;

/// Events that one read brings at most. It bounds what a read holds in memory.
pub(crate) const PAGE: usize = 128;
/// Events that a first read from the end asks for, before it is known how large they are.
const PROBE: usize = 32;
/// Bytes of events that a window is filled with.
pub(crate) const WINDOW_BYTES: usize = 1024 * 1024;

/// The server's commands as the log needs them.
#[derive(Debug)]
pub(crate) struct Store {
    pool: Pool,
    publisher: Publisher,
    durability: Durability,
    /// Whether the server's disk was as it must be when it was looked at last.
    proven: AtomicBool,
    timeout: Duration,
    /// Reads for readers that run at a time. A read may hold a page of the largest events; and half
    /// of the pool stays free for appends and repairs, however many readers are behind.
    reads: Semaphore,
}

/// What there is behind a position, and the head it was compared with.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) head: Option<Head>,
    pub(crate) page: Page,
}

/// A topic's head and its newest events, without holes and up to the head.
#[derive(Debug)]
pub(crate) struct Window {
    /// The position before the first event; the head if there is none.
    pub(crate) before: Position,
    pub(crate) ended: bool,
    pub(crate) events: Vec<Event>,
}

impl Window {
    /// Whether the topic has ended and there is no event to say so.
    pub(crate) fn ended_at_once(&self) -> bool {
        self.ended && self.events.is_empty()
    }
}

impl Store {
    pub(crate) fn new(config: &Config) -> Self {
        let connections = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.timeout));
        let manager = Manager::new_with_config(config.url.info(), connections)
            .expect("the URL was parsed before");
        let pool = Pool::builder(manager)
            .max_size(config.pool_size.max(2))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(config.timeout))
            .create_timeout(Some(config.connect_timeout + config.timeout))
            .recycle_timeout(Some(config.timeout))
            // A restarted server has lost the script, and all connections with it: loaded here, no
            // pipeline finds it missing half-way, which would upset the order of its appends.
            .post_create(Hook::async_fn(|connection, _| {
                Box::pin(async { publish::load(connection).await.map_err(HookError::Backend) })
            }))
            .build()
            .expect("a runtime is set");
        let reads = Semaphore::new((config.pool_size / 2).max(1));
        let publisher = Publisher::new(config);
        Self {
            pool,
            publisher,
            durability: config.durability,
            proven: AtomicBool::new(false),
            timeout: config.timeout,
            reads,
        }
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        // Boxed: a pool's future has room for a whole handshake, and thousands of readers may wait
        // for their turn with what would be inside of theirs.
        Box::pin(self.pool.get()).await.map_err(|error| Failure::of_pool(error, self.timeout))
    }

    /// Waits for its turn among the readers and does `work`, all within the time-out.
    pub(crate) async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.timeout, async {
            let _turn = self.reads.acquire().await.map_err(|_| Failure::Closed)?;
            work.await
        })
        .await
        .unwrap_or(Err(Failure::Late(self.timeout)))
    }

    pub(crate) async fn append(&self, batch: &[Append]) -> Vec<Result<Receipt, AppendError>> {
        match self.connection().await {
            Ok(mut connection) => {
                if let Err(failure) = self.promise(&mut connection).await {
                    return vec![Err(failure.into()); batch.len()];
                }
                let all: Vec<_> = batch.iter().collect();
                let answers = self.publisher.append(&mut connection, &all, false).await;
                if answers.iter().any(|answer| matches!(answer, Err(Failure::Disk(_)))) {
                    self.proven.store(false, Ordering::Relaxed);
                }
                let receipts = batch.iter().zip(answers);
                receipts.map(|(append, answer)| answer?.receipt(append)).collect()
            }
            Err(failure) => vec![Err(failure.into()); batch.len()],
        }
    }

    /// Refuses to store what would not be acknowledged, where that is known beforehand.
    async fn promise(&self, connection: &mut Connection) -> Result<(), Failure> {
        if self.durability == Durability::Disk && !self.proven.load(Ordering::Relaxed) {
            self.publisher.prove(connection).await?;
            self.proven.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the server can prove now what an append would ask it to prove.
    pub(crate) async fn prove(&self) -> Result<(), Failure> {
        let mut connection = self.connection().await?;
        self.publisher.prove(&mut connection).await
    }

    /// Reads what follows `after`, at most `count` events.
    pub(crate) async fn behind(
        &self,
        topic: &Topic,
        after: Position,
        count: usize,
    ) -> Result<Behind, Failure> {
        let next = Range::After(after, count.clamp(1, PAGE));
        let (head, [mut events]) = self.view(topic, [next]).await?;
        if let Some(head) = head
            && classify(after, Some(head.generation), None, first(&events)).is_none()
        {
            cut_at_hole(&mut events, after);
            return Ok(Behind { head: Some(head), page: Page { gap: None, events } });
        }
        // A gap, or no head: look again at all that tells which.
        let ranges = [next, Range::Oldest, Range::Newest(1)];
        let (head, [mut events, oldest, newest]) = self.view(topic, ranges).await?;
        let head = Head::of(head, newest.first());
        let generation = head.map(|head| head.generation);
        let gap = classify(after, generation, first(&oldest), first(&events));
        match gap {
            Some(_) => events.clear(),
            None => cut_at_hole(&mut events, after),
        }
        Ok(Behind { head, page: Page { gap, events } })
    }

    /// The newest events of a topic, [`PAGE`] at most, fewer if they are large.
    pub(crate) async fn window(&self, topic: &Topic) -> Result<Window, Failure> {
        let (head, [mut events]) = self.view(topic, [Range::Newest(PROBE)]).await?;
        let Some(head) = Head::of(head, events.first()) else {
            return Ok(Window { before: Position::START, ended: false, events });
        };
        let more = fitting(&events).saturating_sub(events.len());
        if let Some(oldest) = events.last().filter(|_| events.len() == PROBE && more > 0) {
            let older = Range::Before(oldest.position(), more);
            let (_, [older]) = self.view(topic, [older]).await?;
            events.extend(older);
        }
        let whole = events
            .iter()
            .zip(events.iter().skip(1))
            .take_while(|(e, older)| follows(older.position(), e.position()));
        let whole = 1 + whole.count();
        events.truncate(whole);
        if events.first().is_none_or(|newest| newest.position() != head.position()) {
            events.clear();
        }
        events.reverse();
        let before = first(&events).map_or(head.position(), Position::before);
        Ok(Window { before, ended: head.ended, events })
    }

    /// Finds where a reader without a cursor begins.
    pub(crate) async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, Failure> {
        let newest = match seek {
            Seek::Last(count) => usize::try_from(count).unwrap_or(usize::MAX).clamp(1, PROBE),
            Seek::Earliest | Seek::Since(_) => 1,
        };
        let since = match seek {
            Seek::Since(ms) => Range::Since(ms),
            Seek::Earliest | Seek::Last(_) => Range::Oldest,
        };
        let ranges = [Range::Oldest, Range::Newest(newest), since];
        let (head, [oldest, newest, since]) = self.view(topic, ranges).await?;
        let Some(head) = Head::of(head, newest.first()) else {
            return Ok(Sought { position: Position::START, gap: None });
        };
        let (head, oldest) = (head.position(), first(&oldest));
        let begin = match seek {
            Seek::Earliest => oldest,
            Seek::Since(_) => first(&since),
            Seek::Last(0) => None,
            // Numbers are dense: there are no more than these.
            Seek::Last(count)
                if oldest.is_some_and(|oldest| head.n.saturating_sub(oldest.n) < count) =>
            {
                oldest
            }
            Seek::Last(count) => self.back(topic, newest, count).await?.or(oldest),
        };
        let position = begin.map_or(head, Position::before);
        Ok(Sought { position, gap: Gap::since(seek, oldest, head, position) })
    }

    /// The `count`th event from the end, of which some were read: found page by page, for Redis
    /// cannot skip.
    async fn back(
        &self,
        topic: &Topic,
        mut newest: Vec<Event>,
        count: u64,
    ) -> Result<Option<Position>, Failure> {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        let mut found = None;
        while let Some(oldest) = newest.last() {
            found = Some(oldest.position());
            left = left.saturating_sub(newest.len());
            if left == 0 {
                break;
            }
            let older = Range::Before(oldest.position(), left.min(fitting(&newest)));
            (_, [newest]) = self.view(topic, [older]).await?;
        }
        Ok(found)
    }

    pub(crate) async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, Failure> {
        let (head, [oldest, newest]) = self.view(topic, [Range::Oldest, Range::Newest(1)]).await?;
        let Some(head) = Head::of(head, newest.first()) else { return Ok(None) };
        let Head { generation: Generation { head, .. }, ended } = head;
        let oldest = first(&oldest);
        let length = oldest.map_or(0, |oldest| (head.n + 1).saturating_sub(oldest.n));
        Ok(Some(Bounds { head, oldest, length, ended }))
    }
}

fn first(events: &[Event]) -> Option<Position> {
    events.first().map(Event::position)
}

/// How many events like these a read may bring, to hold no more than a window's bytes or so.
fn fitting(events: &[Event]) -> usize {
    let weight: usize = events.iter().map(Event::weight).sum();
    let mean = weight.checked_div(events.len()).unwrap_or(0);
    (WINDOW_BYTES / mean.max(1)).clamp(1, PAGE)
}

/// Whether `next` is the successor of `position`.
pub(crate) fn follows(position: Position, next: Position) -> bool {
    position.n.checked_add(1) == Some(next.n) && next.ms >= position.ms
}

/// Ends a page before a hole that somebody made in the stream: the next read announces it.
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
