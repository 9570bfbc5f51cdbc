//! The server's changes as they come, and the answers to the server.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::backend::{COPY_DATA_TAG, COPY_DONE_TAG, Header, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::postgres::connection::{MESSAGE_MAX, PostgresClient, cut, failure, length};
use crate::postgres::lsn::Lsn;
use crate::source::Failure;

/// The stream of changes. Its reads are cancel-safe.
#[derive(Debug)]
pub(crate) struct Wal {
    connection: PostgresClient,
    /// The longest change that is kept, in bytes.
    change_max: usize,
    /// The rest of a change that is too long, which is yet to come.
    skipping: usize,
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A message of pgoutput.
    Change {
        /// Its bytes; of one that is too long only the first [`HEAD`].
        bytes: Bytes,
        /// The number of its bytes if it is too long.
        too_long: Option<usize>,
    },
    /// A sign of life: every change before the place was sent. Whether the server wants an answer to it is left out. It gets
    /// one all the time, and one that is stopping would ask again after each.
    Alive(Lsn),
}

/// The bytes that are kept of a change that is too long. The names of tables and of logical messages are in them.
const HEAD: usize = 16 * 1024;
/// The bytes that are asked for at once.
const READ: usize = 64 * 1024;
/// The longest time that a server takes no answer.
const WRITE_MAX: Duration = Duration::from_secs(30);

impl Wal {
    /// Starts to read. `change_max` is the longest change that is kept, in bytes.
    ///
    /// # Errors
    /// The connection was lost, or the server refuses.
    pub(crate) async fn start(
        mut connection: PostgresClient,
        sql: &str,
        change_max: usize,
    ) -> Result<Self, Failure> {
        connection.start(sql).await?;
        Ok(Self { connection, change_max: change_max.max(HEAD), skipping: 0 })
    }

    /// Reads what has come. Cancel-safe.
    ///
    /// # Errors
    /// The connection was lost.
    pub(crate) async fn fill(&mut self) -> Result<(), Failure> {
        let PostgresClient { wire, input, .. } = &mut self.connection;
        input.reserve(READ);
        match wire.read_buf(input).await.map_err(cut)? {
            0 => Err(cut("the server has closed it")),
            _ => Ok(()),
        }
    }

    /// Takes the next message out of what has come; `None` if it is not whole.
    ///
    /// # Errors
    /// The server has ended the stream, or what came is no message.
    pub(crate) fn take(&mut self) -> Result<Option<Sent>, Failure> {
        let input = &mut self.connection.input;
        loop {
            let skipped = self.skipping.min(input.len());
            input.advance(skipped);
            self.skipping -= skipped;
            let Some(header) = Header::parse(input).map_err(cut)? else { return Ok(None) };
            match header.tag() {
                COPY_DATA_TAG => {
                    let whole = length(header) + 1;
                    let is_long = whole > self.change_max;
                    let taken = if is_long { HEAD } else { whole };
                    if input.len() < taken {
                        return Ok(None);
                    }
                    self.skipping = whole - taken;
                    let mut bytes = input.split_to(taken).freeze();
                    bytes.advance(5);
                    if let Some(sent) = Sent::parse(bytes, is_long.then_some(whole))? {
                        return Ok(Some(sent));
                    }
                }
                COPY_DONE_TAG => {
                    return Err(Failure::Away("the server ends the stream".to_owned()));
                }
                _ if length(header) > MESSAGE_MAX => {
                    let bytes = length(header);
                    let reason = format!("a message has {bytes} bytes; the limit is {MESSAGE_MAX}");
                    return Err(Failure::Away(reason));
                }
                _ => match Message::parse(input).map_err(cut)? {
                    Some(Message::ErrorResponse(body)) => return Err(failure(&body)),
                    Some(_) => {}
                    None => return Ok(None),
                },
            }
        }
    }

    /// Tells the server that everything before a place is stored.
    ///
    /// # Errors
    /// The connection was lost.
    pub(crate) async fn confirm(&mut self, all_before: Lsn) -> Result<(), Failure> {
        let mut out = BytesMut::with_capacity(39);
        out.put_u8(COPY_DATA_TAG);
        out.put_u32(4 + 1 + 3 * 8 + 8 + 1);
        out.put_u8(b'r');
        for _written_flushed_applied in 0..3 {
            out.put_u64(all_before.0);
        }
        // The server does nothing with the time, and is not asked for an answer.
        out.put_u64(0);
        out.put_u8(0);
        let written = timeout(WRITE_MAX, async {
            self.connection.wire.write_all(&out).await?;
            self.connection.wire.flush().await
        });
        let late = |_| Failure::Away(format!("the server takes nothing for {WRITE_MAX:?}"));
        written.await.map_err(late)?.map_err(cut)
    }
}

impl Sent {
    fn parse(mut bytes: Bytes, too_long: Option<usize>) -> Result<Option<Self>, Failure> {
        let short = |_| Failure::Away("the server sends a part of the stream too short".to_owned());
        match bytes.try_get_u8().map_err(short)? {
            b'w' => {
                let (_start, _end) = (bytes.try_get_u64(), bytes.try_get_u64());
                let _time = bytes.try_get_u64().map_err(short)?;
                Ok(Some(Self::Change { bytes, too_long }))
            }
            b'k' => {
                let all_before = Lsn(bytes.try_get_u64().map_err(short)?);
                Ok(Some(Self::Alive(all_before)))
            }
            _ => Ok(None),
        }
    }
}
