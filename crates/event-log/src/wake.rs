//! The wake-up of those who wait for a tail to move.
//!
//! Each reader has a place in one list and leaves its waker there for good. So a move is one pass over
//! memory that lies together, and a reader that goes on waiting has nothing to do but to compare two
//! numbers. With a list of those who wait right now, each reader would leave and join it for every
//! event, and touch its neighbours as it does.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::yield_now;

/// The readers of a tail, and how often it has moved.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    moves: AtomicU64,
    is_waking: AtomicBool,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// A reader that has never waited has no waker yet, and a place may be free.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// Wakes a reader when its tail has moved.
#[derive(Debug)]
pub struct Wake {
    readers: Arc<Readers>,
    place: usize,
    /// The moves of which the reader knows.
    seen: u64,
    /// What is in its place, to be compared without a lock.
    task: Option<Waker>,
}

/// Readers that are woken before these run: what the wake-up touched of them is still at hand then,
/// and neither a publisher nor a queue of tasks waits for a long list.
const WOKEN_AT_ONCE: usize = 64;

impl Readers {
    /// Takes a reader in. The moves so far are known to it.
    pub(crate) fn join(self: &Arc<Self>) -> Wake {
        let seen = self.moves();
        let mut places = self.places();
        let place = places.free.pop().unwrap_or_else(|| {
            places.wakers.push(None);
            places.wakers.len() - 1
        });
        drop(places);
        Wake { readers: Arc::clone(self), place, seen, task: None }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        let places = self.places();
        places.wakers.len() - places.free.len()
    }

    /// Wakes all: at once if they are few, else in a wave.
    pub(crate) fn wake(self: &Arc<Self>) {
        // Before the pass: whoever leaves its waker behind it sees this, and does not wait.
        self.moves.fetch_add(1, AcqRel);
        if self.places().wakers.len() > WOKEN_AT_ONCE
            && let Ok(runtime) = Handle::try_current()
        {
            if !self.is_waking.swap(true, AcqRel) {
                drop(runtime.spawn(Arc::clone(self).wave()));
            }
            return;
        }
        let mut first = 0;
        while self.wake_some(first) {
            first += WOKEN_AT_ONCE;
        }
    }

    /// Wakes many, some at a time, and lets those run before the next. A move that comes meanwhile
    /// begins no wave of its own but prolongs this one.
    async fn wave(self: Arc<Self>) {
        loop {
            let moves = self.moves();
            let mut first = 0;
            while self.wake_some(first) {
                first += WOKEN_AT_ONCE;
                yield_now().await;
            }
            // Whoever moved the tail and found a wave under way has moved it before this.
            self.is_waking.swap(false, AcqRel);
            if self.moves() == moves || self.is_waking.swap(true, AcqRel) {
                return;
            }
        }
    }

    /// Wakes some from the one at `first` on; whether there were any.
    fn wake_some(&self, first: usize) -> bool {
        let places = self.places();
        let Some(rest) = places.wakers.get(first..).filter(|rest| !rest.is_empty()) else {
            return false;
        };
        rest.iter().take(WOKEN_AT_ONCE).flatten().for_each(Waker::wake_by_ref);
        true
    }

    fn moves(&self) -> u64 {
        self.moves.load(Acquire)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing under the lock panics but a foreign waker, and the list is whole then.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake {
    /// Whether the tail has moved since this was last marked.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.readers.moves() != self.seen
    }

    /// Takes the moves so far as known. Do it before a read: what moves the tail from here on ends the
    /// next wait.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.readers.moves();
    }

    /// Waits until it has.
    pub(crate) fn poll_changed(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            self.leave(Some(cx.waker().clone()));
        }
        // Behind the waker, so that a move either is seen here or wakes it.
        match self.has_changed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Leaves a waker in this reader's place.
    fn leave(&mut self, task: Option<Waker>) {
        self.task.clone_from(&task);
        let old = std::mem::replace(&mut self.readers.places().wakers[self.place], task);
        // Outside the lock: it may be the last of its task.
        drop(old);
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.leave(None);
        let mut places = self.readers.places();
        places.free.push(self.place);
        // A topic that had many readers once need not remember them.
        if places.free.len() == places.wakers.len() {
            *places = Places::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake as Task;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Task for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn wait(wake: &mut Wake, task: &Arc<Woken>) -> bool {
        wake.poll_changed(&Context::from_waker(&Waker::from(Arc::clone(task)))).is_pending()
    }

    #[test]
    fn every_reader_is_woken_by_every_move() {
        let readers = Arc::new(Readers::default());
        let task = Arc::new(Woken::default());
        let count = 3 * WOKEN_AT_ONCE + 1;
        let mut wakes: Vec<_> = (0..count).map(|_| readers.join()).collect();
        for moves in 1..=3 {
            assert!(wakes.iter_mut().all(|wake| wait(wake, &task)));
            readers.wake();
            assert_eq!(task.0.load(Relaxed), moves * count);
            assert!(wakes.iter_mut().all(|wake| !wait(wake, &task)));
            wakes.iter_mut().for_each(Wake::mark_unchanged);
        }
    }

    #[test]
    fn a_move_before_the_wait_ends_it_and_one_that_was_marked_does_not() {
        let readers = Arc::new(Readers::default());
        let (mut wake, task) = (readers.join(), Arc::default());
        readers.wake();
        assert!(wake.has_changed() && !wait(&mut wake, &task));
        wake.mark_unchanged();
        assert!(!wake.has_changed() && wait(&mut wake, &task));
    }

    #[test]
    fn whoever_is_polled_by_another_task_wakes_that_one() {
        let readers = Arc::new(Readers::default());
        let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut wake = readers.join();
        assert!(wait(&mut wake, &first) && wait(&mut wake, &second));
        readers.wake();
        assert_eq!((first.0.load(Relaxed), second.0.load(Relaxed)), (0, 1));
    }

    #[test]
    fn readers_that_left_are_neither_woken_nor_kept() {
        let readers = Arc::new(Readers::default());
        let task = Arc::new(Woken::default());
        for _ in 0..3 {
            let mut wakes: Vec<_> = (0..10).map(|_| readers.join()).collect();
            assert!(wakes.iter_mut().all(|wake| wait(wake, &task)));
            wakes.truncate(4);
            assert_eq!((readers.count(), readers.places().wakers.len()), (4, 10));
            let again = readers.join();
            assert_eq!((readers.count(), readers.places().wakers.len()), (5, 10));
            drop((wakes, again));
            assert_eq!((readers.count(), readers.places().wakers.capacity()), (0, 0));
            assert_eq!(Arc::strong_count(&task), 1);
        }
    }

    #[tokio::test]
    async fn a_wave_reaches_everybody_and_a_move_meanwhile_prolongs_it() {
        let readers = Arc::new(Readers::default());
        let tasks: Vec<_> = (0..5 * WOKEN_AT_ONCE).map(|_| Arc::<Woken>::default()).collect();
        let mut wakes: Vec<_> = tasks.iter().map(|_| readers.join()).collect();
        assert!(wakes.iter_mut().zip(&tasks).all(|(wake, task)| wait(wake, task)));
        let woken = || tasks.iter().map(|task| task.0.load(Relaxed)).collect::<Vec<_>>();

        readers.wake();
        assert_eq!(woken().iter().sum::<usize>(), 0, "it is not done in passing");
        yield_now().await;
        let before = woken();
        assert_eq!(before.iter().sum::<usize>(), WOKEN_AT_ONCE);
        readers.wake();
        while readers.is_waking.load(Acquire) {
            yield_now().await;
        }
        assert!(woken().iter().zip(before).all(|(after, before)| *after > before));
        assert_eq!(Arc::strong_count(&readers), wakes.len() + 1, "no wave is left");
    }
}
