//! Echoes: markers that this node sends through its own feed, to prove that messages arrive.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::Failure;

/// Echoes that are waited for at the same time. A node has one probe, and its last one may still wait.
const WAITING_MAX: usize = 64;
/// The first byte of a marker. No position begins with it, so an event is never taken for a marker.
const SIGN: u8 = b'?';

/// The markers that have not come back yet.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

/// An echo that is waited for. When it is dropped, its marker means nothing any more.
#[derive(Debug)]
pub(crate) struct Echo<'a> {
    echoes: &'a Echoes,
    nonce: u64,
    arrival: oneshot::Receiver<()>,
}

impl Echoes {
    /// Begins to wait for a new marker.
    pub(crate) fn begin(&self) -> Result<Echo<'_>, Failure> {
        // Each `RandomState` has new keys: two nodes never send the same marker.
        let nonce = RandomState::new().build_hasher().finish();
        let (sender, arrival) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            return Err(Failure::Echoes(WAITING_MAX));
        }
        waiting.insert(nonce, sender);
        Ok(Echo { echoes: self, nonce, arrival })
    }

    /// Takes a message. Returns true if it is a marker, of this node or another.
    pub(crate) fn take(&self, message: &[u8]) -> bool {
        let Some(nonce) = nonce(message) else { return false };
        if let Some(waiting) = self.waiting().remove(&nonce) {
            // The receiver may have been dropped in this moment.
            let _received = waiting.send(()).is_ok();
        }
        true
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Echo<'_> {
    /// The message to send.
    pub(crate) fn marker(&self) -> String {
        format!("{}{:016x}", char::from(SIGN), self.nonce)
    }

    /// Waits until the marker comes back.
    pub(crate) async fn arrived(&mut self) -> Result<(), Failure> {
        (&mut self.arrival).await.map_err(|_| Failure::Closed)
    }
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        self.echoes.waiting().remove(&self.nonce);
    }
}

fn nonce(message: &[u8]) -> Option<u64> {
    let (sign, digits) = message.split_first()?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16)?;
    (*sign == SIGN).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_marker_wakes_the_echo_that_sent_it_and_no_other() {
        let echoes = Echoes::default();
        let (mut one, mut other) = (echoes.begin().unwrap(), echoes.begin().unwrap());
        assert!(echoes.take(one.marker().as_bytes()));
        one.arrived().await.unwrap();
        assert!(other.arrival.try_recv().is_err());
        assert!(echoes.take(other.marker().as_bytes()));
        other.arrived().await.unwrap();
    }

    #[test]
    fn a_message_that_is_no_marker_is_left_to_others() {
        let echoes = Echoes::default();
        for message in ["", "?", "1-1\n\ndata", "?xyz", "?00000000000000001", "0000000000000001"] {
            assert!(!echoes.take(message.as_bytes()), "{message}");
        }
        assert!(echoes.take(b"?0000000000000001"), "the marker of another node");
        assert!(!echoes.take("?ééééééé1".as_bytes()));
    }

    #[test]
    fn the_echoes_that_wait_are_bounded_and_forgotten_when_dropped() {
        let echoes = Echoes::default();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| echoes.begin().unwrap()).collect();
        assert!(echoes.begin().unwrap_err().to_string().contains("64"));
        drop(waiting);
        assert!(echoes.waiting().is_empty());
        echoes.begin().unwrap();
    }
}
