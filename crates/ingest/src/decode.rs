//! The decoder of a body that streams events, whatever its format.

use bytes::Bytes;
use event_log::Append;

use crate::error::Error;

/// Decodes events from the pieces of a body.
pub(crate) trait Decode: Send {
    /// Takes the next piece. Call it only after [`Decode::take`] has returned `None`.
    fn push(&mut self, chunk: Bytes);
    /// Returns the next complete event.
    fn take(&mut self) -> Option<Item>;
    /// Returns the line at which an event has begun that is not complete. Call it only after
    /// [`Decode::take`] has returned `None`.
    fn unfinished(&self) -> Option<u64>;
    /// Returns the bytes of memory that are held for events to come.
    fn bytes(&self) -> usize;
    /// Returns the event that the end of the body completes, or an error if the end cuts it off, or if it is not the
    /// end of the topic that the publisher asked for.
    fn finish(&mut self) -> Option<Item>;
}

/// An event of a body, or the error in it.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its first line, from 1.
    pub(crate) line: u64,
    pub(crate) event: Result<Append, Error>,
}
