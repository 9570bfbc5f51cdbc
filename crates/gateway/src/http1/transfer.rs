//! The rest of a write that the connection did not take at once.
//!
//! A stream that waits for its client is held to everything that a stream at the tail is held to: its
//! lifetime, its share of the memory, a peer that is still there.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::impatient::Impatient;
use crate::metrics::Close;
use crate::subscriber::Subscriber;
use crate::transport::Transport;

/// Bytes that wait for the client.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) bytes: Bytes,
    /// Their number before the connection took a part: the whole stays in memory until the end.
    pub(super) whole: usize,
    /// True if the connection is to be shut down behind them.
    pub(super) is_last: bool,
}

/// Time between two looks at the peer and at the memory.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Sends the rest. Returns the reason if the stream has to end instead.
///
/// # Errors
/// The connection is broken, or its peer has taken nothing for `stall`.
pub(super) async fn send<T: Transport>(
    transport: &mut T,
    subscriber: &mut Subscriber,
    mut rest: Rest,
    stall: Duration,
) -> io::Result<Option<Close>> {
    let Ok(mut held) = subscriber.hold(&rest.bytes, rest.whole) else {
        return Ok(Some(Close::Memory));
    };
    let mut patient = Impatient::new(transport, stall);
    let mut overdue = pin!(subscriber.overdue());
    let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            sent = finish(&mut patient, &mut rest) => return sent.map(|()| None),
            reason = &mut overdue => return Ok(Some(reason)),
            _ = looks.tick() => {
                if patient.get_ref().has_vanished() {
                    return Ok(Some(Close::Vanished));
                }
                // Other readers, and the log, may have let go of an event that was shared.
                if rest.bytes.is_unique() && held.resize(rest.whole as u64).is_err() {
                    return Ok(Some(Close::Memory));
                }
            }
        }
    }
}

/// Cancel-safe: the rest shrinks by the bytes that were written.
async fn finish(stream: &mut (impl AsyncWrite + Unpin), rest: &mut Rest) -> io::Result<()> {
    stream.write_all_buf(&mut rest.bytes).await?;
    stream.flush().await?;
    if rest.is_last { stream.shutdown().await } else { Ok(()) }
}
