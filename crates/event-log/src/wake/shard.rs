//! The wakers of the readers that wait on one runtime.
//!
//! Absent: a lock, and any decision about another shard.

use std::task::Waker;

use tokio::runtime::{Handle, Id};

use super::WOKEN_AT_ONCE;

/// Places for wakers.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// `None` for readers that are polled outside a runtime.
    runtime: Option<Handle>,
    /// `None` in a place that is free.
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
    /// True while a wave is under way.
    pub(super) is_waking: bool,
}

/// The parts that a reader leaves behind, to be dropped without the lock.
#[derive(Debug)]
pub(super) struct Left {
    _waker: Option<Waker>,
    _runtime: Option<Handle>,
}

impl Shard {
    pub(super) fn new(runtime: Option<Handle>) -> Self {
        Self { runtime, ..Self::default() }
    }

    /// Returns whether another runtime may have this shard.
    pub(super) fn is_vacant(&self) -> bool {
        self.wakers.is_empty() && !self.is_waking
    }

    pub(super) fn is_of(&self, runtime: Option<&Handle>) -> bool {
        self.runtime.as_ref().map(Handle::id) == runtime.map(Handle::id)
    }

    /// Returns the number of places, free ones included.
    pub(super) fn places(&self) -> usize {
        self.wakers.len()
    }

    pub(super) fn take_place(&mut self, waker: Waker) -> u32 {
        let Some(index) = self.free.pop() else {
            self.wakers.push(Some(waker));
            return u32::try_from(self.wakers.len() - 1).expect("a topic has fewer readers");
        };
        self.wakers[index as usize] = Some(waker);
        index
    }

    pub(super) fn replace(&mut self, index: u32, waker: Waker) -> Left {
        Left { _waker: self.wakers[index as usize].replace(waker), _runtime: None }
    }

    pub(super) fn leave(&mut self, index: u32) -> Left {
        let waker = self.wakers[index as usize].take();
        self.free.push(index);
        if self.free.len() < self.wakers.len() {
            return Left { _waker: waker, _runtime: None };
        }
        // A topic that had many readers once need not keep room for them.
        (self.wakers, self.free) = (Vec::new(), Vec::new());
        Left { _waker: waker, _runtime: self.runtime.take() }
    }

    /// Returns the runtime on which a wave is to wake these readers, or `None` if they are to be woken
    /// at once: a few of the current runtime, one of another, or readers outside a runtime.
    pub(super) fn wave_runtime(&self, here: impl Fn() -> Option<Id>) -> Option<&Handle> {
        let runtime = self.runtime.as_ref()?;
        let are_many = self.places() > WOKEN_AT_ONCE;
        let are_foreign = || self.places() - self.free.len() > 1 && here() != Some(runtime.id());
        (are_many || are_foreign()).then_some(runtime)
    }

    /// Wakes the readers of `count` places from the place `first` on.
    pub(super) fn wake_from(&self, first: usize, count: usize) {
        self.wakers.iter().skip(first).take(count).flatten().for_each(Waker::wake_by_ref);
    }
}
