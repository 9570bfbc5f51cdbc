//! The wake-up of readers that wait for a tail to move.
//!
//! A reader leaves its waker in a place of its own until it goes away. So a move is one pass over memory
//! that lies together, and a reader that goes on waiting only compares two numbers. With a list of the
//! readers that wait at the moment, each reader would leave and join the list for every event.
//!
//! The places are in one shard for each runtime on which readers wait. Waking a task of another
//! current-thread runtime is a system call, so a move starts one task there, the wave, and the wave wakes
//! the readers of its shard. A process with one runtime has one shard.

mod shard;
#[cfg(test)]
mod tests;

use std::cell::LazyCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use shard::{Left, Shard};

/// The readers of a tail, and how often the tail has moved.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    moves: AtomicU64,
    shards: Mutex<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    /// At most one for each runtime with readers. A shard keeps its index while there are readers.
    list: SmallVec<[Shard; 1]>,
    /// Wake-ups that are out, including those that nobody has waited with.
    readers: usize,
}

/// Wakes a reader when its tail has moved.
#[derive(Debug)]
pub struct Wake {
    readers: Arc<Readers>,
    /// The moves that the reader knows.
    seen: u64,
    /// `None` until the first wait.
    place: Option<WakerSeat>,
}

/// A reader's place in a shard.
#[derive(Debug)]
struct WakerSeat {
    shard: u32,
    index: u32,
    /// The waker that the shard has there, for a comparison without the lock.
    waker: Waker,
}

/// Wakes the readers of a shard, [`WOKEN_AT_ONCE`] at a time, and lets those run before the next.
#[derive(Debug)]
struct Wave {
    readers: Arc<Readers>,
    shard: usize,
    is_over: bool,
}

/// Readers that are woken before these run. The memory that a wake-up touched is still in a cache when its
/// reader runs, and neither a publisher nor a run queue waits for a long list.
const WOKEN_AT_ONCE: usize = 64;

/// Shards that a move wakes by a wave without an allocation: the runtimes of a usual machine.
const WAVES_INLINE: usize = 4;

impl Readers {
    /// Adds a reader, which knows the moves so far.
    pub(crate) fn join(self: &Arc<Self>) -> Wake {
        let seen = self.moves();
        self.shards().readers += 1;
        Wake { readers: Arc::clone(self), seen, place: None }
    }

    /// Returns the number of readers.
    pub(crate) fn count(&self) -> usize {
        self.shards().readers
    }

    /// Wakes all readers: a few of the current runtime at once, all others by a wave on their runtime.
    pub(crate) fn wake(self: &Arc<Self>) {
        // Before the pass: a reader that leaves its waker after the pass sees this move, and does not wait.
        self.moves.fetch_add(1, AcqRel);
        for (runtime, shard) in self.wake_few() {
            // Without the lock: a runtime that has ended drops the wave here.
            let wave = Wave { readers: Arc::clone(self), shard, is_over: false };
            drop(runtime.spawn(wave.run()));
        }
    }

    /// Wakes the readers that are to be woken at once, and returns the shards that need a wave.
    fn wake_few(&self) -> SmallVec<[(Handle, usize); WAVES_INLINE]> {
        let here = LazyCell::new(|| Handle::try_current().ok().map(|runtime| runtime.id()));
        let mut waves = SmallVec::new();
        for (index, shard) in self.shards().list.iter_mut().enumerate() {
            match shard.wave_runtime(|| *here) {
                None => shard.wake_from(0, usize::MAX),
                // A wave that is under way goes on until it has seen this move.
                Some(_) if shard.is_waking => {}
                Some(runtime) => {
                    waves.push((runtime.clone(), index));
                    shard.is_waking = true;
                }
            }
        }
        waves
    }

    fn moves(&self) -> u64 {
        self.moves.load(Acquire)
    }

    fn shards(&self) -> MutexGuard<'_, Shards> {
        // Nothing panics under the lock but a foreign waker, and the lists are whole then.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shards {
    /// Leaves a waker in a reader's place, in the shard of the current runtime.
    fn put(&mut self, last: Option<WakerSeat>, waker: Waker) -> (WakerSeat, Option<Left>) {
        let here = Handle::try_current().ok();
        let left = match last {
            Some(WakerSeat { shard, index, .. })
                if self.list[shard as usize].is_of(here.as_ref()) =>
            {
                let left = self.list[shard as usize].replace(index, waker.clone());
                return (WakerSeat { shard, index, waker }, Some(left));
            }
            Some(place) => Some(self.leave(&place)),
            None => None,
        };
        let shard = self.shard_of(here);
        let index = self.list[shard].take_place(waker.clone());
        let shard = u32::try_from(shard).expect("a process has fewer runtimes");
        (WakerSeat { shard, index, waker }, left)
    }

    /// Finds or makes the shard of a runtime.
    fn shard_of(&mut self, runtime: Option<Handle>) -> usize {
        let used = |shard: &Shard| !shard.is_vacant() && shard.is_of(runtime.as_ref());
        let found =
            self.list.iter().position(used).or_else(|| self.list.iter().position(Shard::is_vacant));
        let index = found.unwrap_or_else(|| {
            self.list.push(Shard::default());
            self.list.len() - 1
        });
        if self.list[index].is_vacant() {
            self.list[index] = Shard::new(runtime);
        }
        index
    }

    fn leave(&mut self, place: &WakerSeat) -> Left {
        self.list[place.shard as usize].leave(place.index)
    }

    /// Frees the list when nobody needs an index of it any more.
    fn tidy(&mut self) {
        if self.list.iter().all(Shard::is_vacant) {
            self.list = SmallVec::new();
        }
    }
}

impl Wave {
    async fn run(mut self) {
        loop {
            let moves = self.readers.moves();
            let mut first = 0;
            while self.wake_some(first) {
                first += WOKEN_AT_ONCE;
                yield_now().await;
            }
            if self.ends(moves) {
                return;
            }
        }
    }

    /// Wakes some readers from the place `first` on. Returns whether these are to run before the wave
    /// looks for more.
    fn wake_some(&self, first: usize) -> bool {
        let shards = self.readers.shards();
        let shard = &shards.list[self.shard];
        shard.wake_from(first, WOKEN_AT_ONCE);
        shard.places() > WOKEN_AT_ONCE.max(first)
    }

    /// Ends the wave unless the tail has moved since it had made `moves`.
    fn ends(&mut self, moves: u64) -> bool {
        let mut shards = self.readers.shards();
        // A move counts itself before it takes the lock and looks for a wave.
        self.is_over = self.readers.moves() == moves;
        if self.is_over {
            shards.list[self.shard].is_waking = false;
            shards.tidy();
        }
        self.is_over
    }
}

impl Drop for Wave {
    /// Wakes the rest at once if the runtime has ended before the wave: a reader may be polled elsewhere.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut shards = self.readers.shards();
        shards.list[self.shard].is_waking = false;
        shards.list[self.shard].wake_from(0, usize::MAX);
        shards.tidy();
    }
}

impl Wake {
    /// Returns whether the tail has moved since the last call of [`mark_unchanged`](Self::mark_unchanged).
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.readers.moves() != self.seen
    }

    /// Takes the moves so far as known. Call it before a read: a later move ends the next wait.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.readers.moves();
    }

    /// Waits until the tail has moved.
    pub(crate) fn poll_changed(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.place.as_ref().is_none_or(|place| !place.waker.will_wake(cx.waker())) {
            self.leave_waker(cx.waker().clone());
        }
        // After the waker is in its place, so that a move either is seen here or wakes it.
        match self.has_changed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn leave_waker(&mut self, waker: Waker) {
        let last = self.place.take();
        // The lock ends with this statement. The last waker is dropped after it: with its task, maybe.
        let (place, left) = self.readers.shards().put(last, waker);
        self.place = Some(place);
        drop(left);
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let mut shards = self.readers.shards();
        shards.readers -= 1;
        let left = self.place.as_ref().map(|place| shards.leave(place));
        shards.tidy();
        drop(shards);
        // Without the lock: the waker may be the last reference to its task.
        drop(left);
    }
}
