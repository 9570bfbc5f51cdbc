//! The feed's socket: what goes into a subscriber connection, and what comes out of it.

use redis::{ErrorKind, PushKind, RedisError, ServerErrorKind, Value};

use crate::address::Address;
use crate::node::Node;
use crate::store::Server;
use crate::topology::Topology;
use crate::wire::{Broken, Greeting, Wire, field};

/// A connection to Redis in RESP3.
pub(super) struct Socket(Wire);

/// What Redis sends.
#[derive(Debug)]
pub(super) enum Frame {
    Message {
        channel: String,
        payload: Vec<u8>,
    },
    Joined(String),
    Left(String),
    /// Channels of this slot are not to be had from this server.
    Refused {
        slot: u16,
    },
    /// The answer to a ping, and whatever else there may be: signs of life.
    Other,
}

/// Why there is no connection any more, or none yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("the log is closed")]
    Closed,
    #[error("pings stay unanswered")]
    Silent,
    #[error("version {0} is too old; needed is Redis 7.0 or Valkey 7.2, or later")]
    TooOld(String),
    #[error("the server runs in mode {0}, which a URL of another kind is for")]
    Mode(String),
    #[error("the server is no primary")]
    Replica,
}

impl Socket {
    pub(super) async fn connect(node: &Node, primary: &Address) -> Result<Self, Lost> {
        let (wire, greeting) = Wire::connect(&node.access, primary, 3, "tailwater-feed").await?;
        check(&greeting, &node.topology)?;
        Ok(Self(wire))
    }

    pub(super) async fn ping(&mut self) -> Result<(), Lost> {
        self.send(&redis::cmd("PING").get_packed_command()).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        Ok(self.0.send(bytes).await?)
    }

    /// The next frame. Cancel-safe.
    pub(super) async fn frame(&mut self) -> Result<Frame, Lost> {
        let (kind, data) = match self.0.value().await? {
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
                Frame::Message { channel, payload }
            }
            (PushKind::SSubscribe, Some(channel), _) => Frame::Joined(channel),
            (PushKind::SUnsubscribe, Some(channel), _) => Frame::Left(channel),
            _ => Frame::Other,
        })
    }
}

/// What is no push. An error but MOVED is the end: none of our commands can fail on a server that is
/// of use.
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

fn check(greeting: &Greeting, topology: &Topology) -> Result<(), Lost> {
    let server = Server { version: field(greeting, "version"), mode: field(greeting, "mode") };
    if !server.is_new_enough() {
        return Err(Lost::TooOld(server.version));
    }
    if server.mode != topology.kind().mode() {
        return Err(Lost::Mode(server.mode));
    }
    if !topology.is_fixed() && field(greeting, "role") != "master" {
        return Err(Lost::Replica);
    }
    Ok(())
}
