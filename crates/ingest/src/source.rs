//! The body of a stream: its pieces, the waits for them, and the memory that they hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::account::{Account, FREE_BYTES};
use crate::body::{BrokenOff, Upload};
use crate::error::{Code, Error};
use crate::wait::{Clock, Wait, Waits};

/// Longest time in which a connection that is gone hands over what it had received.
const GONE_MAX: Duration = Duration::from_secs(1);

/// The body of a stream.
#[derive(Debug)]
pub(crate) struct Source {
    upload: Upload,
    account: Account,
    clock: Clock,
    waits: Arc<Waits>,
    drain: CancellationToken,
}

/// The result of a wait for the body.
pub(crate) enum Input {
    Chunk(Bytes),
    End,
    Broken,
    /// The stream ends here, with this error.
    Stop(Error),
}

impl Source {
    pub(crate) const fn new(
        upload: Upload,
        account: Account,
        clock: Clock,
        waits: Arc<Waits>,
        drain: CancellationToken,
    ) -> Self {
        Self { upload, account, clock, waits, drain }
    }

    /// Notes that the body has sent an event.
    pub(crate) const fn event(&mut self) {
        self.clock.event();
    }

    /// Returns the error of a node that stops, if it does.
    pub(crate) fn draining(&self) -> Option<Error> {
        let message = "this node is stopping; send the rest to another node";
        self.drain.is_cancelled().then(|| Error::new(Code::Draining, message))
    }

    /// Waits for the next piece, within the bounds of time and memory. `held` is the number of bytes of
    /// memory that events to come hold, and `unfinished` the line at which one has begun. Cancel-safe.
    pub(crate) async fn wait(&mut self, held: usize, unfinished: Option<u64>) -> Input {
        if let Err(full) = self.account.hold(held) {
            return Input::Stop(Error::full(Code::Memory, full));
        }
        let (wait, end, max) = self.clock.wait(unfinished);
        if end <= Instant::now() {
            return Input::Stop(self.waits.over(wait, max));
        }
        let drain = self.drain.clone();
        tokio::select! {
            // The drain comes first, because a body that always has more must not keep the node from
            // stopping.
            biased;
            () = drain.cancelled() => {}
            input = self.chunk() => return input,
            () = sleep_until(end) => {}
        }
        Input::Stop(self.draining().unwrap_or_else(|| self.waits.over(wait, max)))
    }

    /// Returns the next piece if it has arrived. The connection's task reads a piece only after the last
    /// one was taken, so this lets that task run once.
    pub(crate) async fn at_hand(&mut self) -> Option<Input> {
        match self.chunk().now_or_never() {
            None => {
                yield_now().await;
                self.chunk().now_or_never()
            }
            input => input,
        }
    }

    /// Charges the bytes of a batch and of what follows it, while the batch is appended.
    ///
    /// # Errors
    /// There is no room for them.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes <= FREE_BYTES {
            return Ok(());
        }
        self.account.hold(bytes).map_err(|full| Error::full(Code::Memory, full))
    }

    /// Counts a wait that was too long, and returns its error.
    pub(crate) fn over(&self, wait: Wait, max: Duration) -> Error {
        self.waits.over(wait, max)
    }

    /// Reads and drops what is left of a body whose connection is gone, and tells whether the body was cut off.
    pub(crate) async fn was_cut_off(&mut self) -> bool {
        let rest = async {
            loop {
                match self.chunk().await {
                    Input::Chunk(_) => {}
                    Input::End | Input::Stop(_) => return false,
                    Input::Broken => return true,
                }
            }
        };
        timeout(GONE_MAX, rest).await.unwrap_or(true)
    }

    /// Reads the rest and drops it, within limits.
    pub(crate) async fn discard(&mut self) {
        self.upload.discard().await;
    }

    async fn chunk(&mut self) -> Input {
        match self.upload.chunk().await {
            Some(Ok(chunk)) => Input::Chunk(chunk),
            Some(Err(BrokenOff)) => Input::Broken,
            None => Input::End,
        }
    }
}
