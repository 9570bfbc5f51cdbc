//! The feed's socket: bytes into a subscriber connection, frames out of it.

use redis::{ErrorKind, PushKind, RedisError, ServerErrorKind, Value};

use crate::access::Access;
use crate::address::Address;
use crate::plain::plain;
use crate::server::ServerInfo;
use crate::topology::Topology;
use crate::wire::{Broken, Wire};

/// A connection to Redis in RESP3.
pub(super) struct Socket(Wire);

/// A frame from Redis.
#[derive(Debug)]
pub(crate) enum Frame {
    Message {
        channel: String,
        payload: Vec<u8>,
    },
    Joined(String),
    Left(String),
    /// This server does not serve channels of this slot.
    Refused {
        slot: u16,
    },
    /// The answer to a ping, or any other sign of life.
    Other,
}

/// The reason why the connection ended, or was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("{}", plain(.0))]
    Redis(#[from] RedisError),
    #[error("the log is closed")]
    Closed,
    #[error("pings were not answered")]
    Silent,
    #[error("{0}")]
    Unsuitable(String),
    #[error("the server runs in mode {0}: use a URL of that kind")]
    Mode(String),
    #[error("the server is not a primary")]
    Replica,
}

impl Socket {
    pub(super) async fn connect(
        access: &Access,
        topology: &Topology,
        source: &Address,
    ) -> Result<Self, Lost> {
        let (wire, greeting) = Wire::connect(access, source, 3, "tailwater-feed").await?;
        check(ServerInfo::greeted(&greeting), topology, source)?;
        Ok(Self(wire))
    }

    pub(super) async fn ping(&mut self) -> Result<(), Lost> {
        self.send(&redis::cmd("PING").get_packed_command()).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        Ok(self.0.send(bytes).await?)
    }

    /// Receives the next frame. Cancel-safe.
    pub(super) async fn frame(&mut self) -> Result<Frame, Lost> {
        Frame::of(self.0.value().await?)
    }
}

impl Frame {
    /// Reads a value that Redis has sent.
    pub(crate) fn of(value: Value) -> Result<Self, Lost> {
        let (kind, data) = match value {
            Value::Push { kind, data } => (kind, data),
            value => return other(value),
        };
        let mut data = data.into_iter();
        let channel = match data.next() {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        Ok(match (kind, channel, data.next()) {
            (PushKind::SMessage, Some(channel), Some(Value::BulkString(payload))) => {
                Self::Message { channel, payload }
            }
            (PushKind::SSubscribe, Some(channel), _) => Self::Joined(channel),
            (PushKind::SUnsubscribe, Some(channel), _) => Self::Left(channel),
            _ => Self::Other,
        })
    }
}

/// Reads a value that is no push. An error other than MOVED ends the connection: on a server that the
/// log can use none of our commands fails.
fn other(value: Value) -> Result<Frame, Lost> {
    match value.extract_error() {
        Ok(_) => Ok(Frame::Other),
        Err(error) => match (error.kind(), error.redirect_node()) {
            (ErrorKind::Server(ServerErrorKind::Moved), Some((_, slot))) => {
                Ok(Frame::Refused { slot })
            }
            _ => Err(error.into()),
        },
    }
}

fn check(server: ServerInfo, topology: &Topology, source: &Address) -> Result<(), Lost> {
    server.refuse_old().map_err(Lost::Unsuitable)?;
    if server.mode != topology.kind().mode() {
        return Err(Lost::Mode(server.mode));
    }
    if !topology.is_fixed() && topology.map().serves(source) && !server.is_primary() {
        return Err(Lost::Replica);
    }
    Ok(())
}
