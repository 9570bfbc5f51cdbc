//! The feed's socket: how a subscriber connection is opened, and what comes out of it.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use redis::{Cmd, ErrorKind, PushKind, RedisError, ServerErrorKind, Value, ValueCodec};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::access::Stream;
use crate::address::Address;
use crate::node::Node;
use crate::store::Server;
use crate::topology::Topology;

/// A connection to Redis in RESP3.
pub(super) struct Socket {
    framed: Framed<Box<dyn Stream>, ValueCodec>,
    timeout: Duration,
}

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
    Io(#[from] io::Error),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the server closed the connection")]
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
        let (access, limit) = (&node.access, node.config.timeout);
        let framed = Framed::new(access.stream(primary).await?, ValueCodec::default());
        let mut socket = Self { framed, timeout: limit };
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = &access.login.password {
            let user = access.login.user.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(user).arg(password);
        }
        hello.arg("SETNAME").arg("tailwater-feed");
        socket.command(&hello).await?;
        let answer = timeout(limit, socket.value()).await.map_err(|_| Lost::Late(limit))??;
        check(answer.extract_error()?, &node.topology)?;
        Ok(socket)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Lost> {
        self.command(&redis::cmd("PING")).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let stream = self.framed.get_mut();
        let sent = timeout(self.timeout, async {
            stream.write_all(bytes).await?;
            // An encrypted stream may hold some back.
            stream.flush().await
        });
        Ok(sent.await.map_err(|_| Lost::Late(self.timeout))??)
    }

    /// The next frame. Cancel-safe.
    pub(super) async fn frame(&mut self) -> Result<Frame, Lost> {
        let (kind, data) = match self.value().await? {
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

    async fn command(&mut self, command: &Cmd) -> Result<(), Lost> {
        self.send(&command.get_packed_command()).await
    }

    async fn value(&mut self) -> Result<Value, Lost> {
        Ok(self.framed.next().await.ok_or(Lost::Closed)??)
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

fn check(hello: Value, topology: &Topology) -> Result<(), Lost> {
    let fields: std::collections::HashMap<String, Value> =
        redis::from_redis_value(hello).map_err(RedisError::from)?;
    let field = |name| match fields.get(name) {
        Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::SimpleString(text)) => text.clone(),
        _ => String::new(),
    };
    let server = Server { version: field("version"), mode: field("mode") };
    if !server.is_new_enough() {
        return Err(Lost::TooOld(server.version));
    }
    if server.mode != topology.kind().mode() {
        return Err(Lost::Mode(server.mode));
    }
    if !topology.is_fixed() && field("role") != "master" {
        return Err(Lost::Replica);
    }
    Ok(())
}
