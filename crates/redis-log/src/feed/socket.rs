//! The feed's socket: how a subscriber connection is opened, and what comes out of it.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use redis::{Cmd, PushKind, RedisError, Value, ValueCodec};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::config::Config;
use crate::store::Server;

/// A connection to Redis in RESP3.
pub(super) struct Socket {
    framed: Framed<TcpStream, ValueCodec>,
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
    #[error("the server runs in mode {0}; only a standalone server is supported")]
    Mode(String),
}

impl Socket {
    pub(super) async fn connect(config: &Config) -> Result<Self, Lost> {
        let limit = config.connect_timeout;
        let stream = timeout(limit, TcpStream::connect(config.url.address()))
            .await
            .map_err(|_| Lost::Late(limit))??;
        stream.set_nodelay(true)?;
        let framed = Framed::new(stream, ValueCodec::default());
        let mut socket = Self { framed, timeout: config.timeout };
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some((user, password)) = config.url.credentials() {
            hello.arg("AUTH").arg(user).arg(password);
        }
        hello.arg("SETNAME").arg("tailwater-feed");
        socket.command(&hello).await?;
        let answer = timeout(config.timeout, socket.value())
            .await
            .map_err(|_| Lost::Late(config.timeout))??;
        check(answer)?;
        Ok(socket)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Lost> {
        self.command(&redis::cmd("PING")).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        timeout(self.timeout, self.framed.get_mut().write_all(bytes))
            .await
            .map_err(|_| Lost::Late(self.timeout))??;
        Ok(())
    }

    /// The next frame. Cancel-safe.
    pub(super) async fn frame(&mut self) -> Result<Frame, Lost> {
        let Value::Push { kind, data } = self.value().await? else { return Ok(Frame::Other) };
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

    /// The next value. An error that Redis answers is the end: none of our commands can fail on a
    /// server that is of use.
    async fn value(&mut self) -> Result<Value, Lost> {
        let value = self.framed.next().await.ok_or(Lost::Closed)??;
        Ok(value.extract_error()?)
    }
}

fn check(hello: Value) -> Result<(), Lost> {
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
    if !server.is_standalone() {
        return Err(Lost::Mode(server.mode));
    }
    Ok(())
}
