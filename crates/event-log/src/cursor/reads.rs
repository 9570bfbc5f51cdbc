//! A cursor's reads of the log: the answers that its opening got, the read under way, and a pause for each
//! log that a read did not move.
//!
//! The opening of a cursor reads the log to find gaps. Its answers are kept for the first steps, so that
//! no page is read twice. All places together keep at most one page, and a page is dropped with its step.
//!
//! A read that fails and a read that brings nothing pause alike. The second belongs to a reader that is
//! ahead of its node's tail, as after a reconnect to a node whose feed lags: the tail does not have the
//! position, and the log has nothing after it. Without a pause the cursor would ask again at once.
//!
//! A reader that waits at the tail has no [`Reads`]; its cursor keeps only the empty pointer.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Limit, Log, LogName, Page, Position, ReadError};

/// The reads of a cursor. Empty for a reader at the tail.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Of the opening, in the order of the places.
    answers: VecDeque<Answer>,
    under_way: Option<Read>,
    pauses: SmallVec<[Pause; 1]>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// One read of the log. A read may hold a connection of the log for as long as it exists, so its owner polls
/// the read or drops it.
struct Read {
    place: usize,
    tail_head: Position,
    page: Pin<Box<dyn Future<Output = Result<Page, ReadError>> + Send>>,
}

/// The result of a read.
#[derive(Debug)]
pub(super) struct Answer {
    /// An index into the cursor's places.
    pub(super) place: usize,
    /// The tail's head before the log was asked.
    pub(super) tail_head: Position,
    pub(super) page: Result<Page, ReadError>,
}

/// Keeps a cursor from reading one log.
#[derive(Debug)]
struct Pause {
    place: usize,
    length: Duration,
    until: Instant,
    /// The tail's head before the log answered that nothing follows, or the error of a read that failed.
    result: Result<Position, ReadError>,
}

/// Pause after a read that failed or brought nothing, doubled each time up to [`PAUSE_MAX`]. The
/// reader's connection stays open.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two reads of a log: the largest delay of a reader after the log is back.
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Reads {
    /// Begins a read; no other may be under way.
    pub(super) fn begin(
        &mut self,
        log: &Arc<dyn Log>,
        (place, name): (usize, &LogName),
        (after, tail_head): (Position, Position),
        limit: Limit,
    ) {
        assert!(self.under_way.is_none(), "a cursor reads one log at a time");
        let (log, name) = (Arc::clone(log), name.clone());
        let page = Box::pin(async move { log.read(&name, after, limit).await });
        self.under_way = Some(Read { place, tail_head, page });
    }

    /// Keeps an answer that came before the first poll.
    pub(super) fn keep(&mut self, answer: Answer) {
        self.answers.push_back(answer);
    }

    /// Returns the next answer of the opening or of the read under way, or `None` if there is neither.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        if let Some(answer) = self.answers.pop_front() {
            return Poll::Ready(Some(answer));
        }
        let Some(read) = &mut self.under_way else { return Poll::Ready(None) };
        let polled = read.page.as_mut().poll(cx);
        polled.map(|page| {
            let Read { place, tail_head, .. } = self.under_way.take()?;
            Some(Answer { place, tail_head, page })
        })
    }

    /// Drops the read under way, and with the read the connection that it holds.
    pub(super) fn cancel(&mut self) {
        self.under_way = None;
    }

    /// Pauses a place after a read that did not move it: longer than after the read before.
    pub(super) fn pause(&mut self, place: usize, result: Result<Position, ReadError>) {
        let paused = self.pauses.iter_mut().find(|pause| pause.place == place);
        let length = paused.as_ref().map_or(PAUSE_MIN, |pause| (pause.length * 2).min(PAUSE_MAX));
        let pause = Pause { place, length, until: Instant::now() + length, result };
        match paused {
            Some(paused) => *paused = pause,
            None => self.pauses.push(pause),
        }
    }

    /// Forgets the pause of a place that its tail serves again.
    pub(super) fn forget(&mut self, place: usize) {
        self.pauses.retain(|pause| pause.place != place);
    }

    /// Returns true if there is no answer, no read and no pause.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.under_way.is_none() && self.pauses.is_empty()
    }

    /// Returns true if it is too early to ask the log again for the events after `after`.
    pub(super) fn is_paused(&self, place: usize, after: Position, tail_head: Position) -> bool {
        let paused = self.pauses.iter().find(|pause| pause.place == place);
        paused.is_some_and(|pause| {
            Instant::now() < pause.until && !pause.is_ended_by_move(after, tail_head)
        })
    }

    /// The error of a paused read that failed, if there is one.
    pub(super) fn error(&self) -> Option<ReadError> {
        self.pauses.iter().find_map(|pause| pause.result.as_ref().err().cloned())
    }

    /// Waits for the first pause to end.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.pauses.iter().map(|pause| pause.until).min() else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

impl Pause {
    /// Returns true if a move of the tail to `tail_head` is a reason to ask the log again before the end of
    /// the pause. The tail itself does not have the position.
    ///
    /// A tail that has only come closer to a reader ahead of it brings nothing that the log has not had
    /// already. A log that cannot be read is not asked more often because it is busy.
    fn is_ended_by_move(&self, after: Position, tail_head: Position) -> bool {
        match self.result {
            Ok(before) => tail_head != before && !(before < tail_head && tail_head < after),
            Err(_) => false,
        }
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("place", &self.place).finish_non_exhaustive()
    }
}
