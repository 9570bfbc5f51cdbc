//! A connection to one server with a single user: bytes out, values in.
//!
//! For the users that a pool does not suit: the feed, which receives messages that it did not ask for,
//! and the writer, which sends many appends in one batch and needs no ping before it.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use redis::{RedisError, Value, ValueCodec};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::Framed;

use crate::access::{Access, Stream};
use crate::address::Address;
use crate::credentials::Login;
use crate::plain::plain;

/// The connection.
pub(crate) struct Wire {
    framed: Framed<Box<dyn Stream>, ValueCodec>,
    timeout: Duration,
}

/// The answer to HELLO.
pub(crate) type Greeting = HashMap<String, Value>;

/// The reason why a connection ended, or was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{}", plain(.0))]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the server closed the connection")]
    Closed,
}

impl Wire {
    /// Connects, logs in and names the connection, with a version of the protocol.
    pub(crate) async fn connect(
        access: &Access,
        address: &Address,
        protocol: u8,
        name: &str,
    ) -> Result<(Self, Greeting), Broken> {
        let framed = Framed::new(access.stream(address).await?, ValueCodec::default());
        let mut wire = Self { framed, timeout: access.timeout };
        let mut hello = redis::cmd("HELLO");
        hello.arg(protocol);
        if let Login { user, password: Some(password) } = access.login() {
            let user = user.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(user).arg(password);
        }
        hello.arg("SETNAME").arg(name);
        wire.send(&hello.get_packed_command()).await?;
        let greeting = wire.answer().await?.extract_error()?;
        Ok((wire, redis::from_redis_value(greeting).map_err(RedisError::from)?))
    }

    /// Sends bytes, within the time-out.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let stream = self.framed.get_mut();
        let sent = timeout(self.timeout, async {
            stream.write_all(bytes).await?;
            // A stream over TLS may buffer some of the bytes.
            stream.flush().await
        });
        Ok(sent.await.map_err(|_| Broken::Late(self.timeout))??)
    }

    /// Receives the next value, without a time-out. Cancel-safe.
    pub(crate) async fn value(&mut self) -> Result<Value, Broken> {
        Ok(self.framed.next().await.ok_or(Broken::Closed)??)
    }

    /// Receives the next value, within the time-out.
    pub(crate) async fn answer(&mut self) -> Result<Value, Broken> {
        self.answer_until(Instant::now() + self.timeout).await
    }

    /// Receives the next value, within a time limit that several answers share.
    pub(crate) async fn answer_until(&mut self, until: Instant) -> Result<Value, Broken> {
        timeout_at(until, self.value()).await.map_err(|_| Broken::Late(self.timeout))?
    }

    /// Longest wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns true if the connection has ended: between batches nothing else can arrive.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.value().now_or_never().is_some()
    }
}

impl Broken {
    /// The same as an error of the library.
    pub(crate) fn into_error(self) -> RedisError {
        match self {
            Self::Io(error) => error.into(),
            Self::Redis(error) => error,
            Self::Late(_) => io::Error::new(io::ErrorKind::TimedOut, self.to_string()).into(),
            Self::Closed => io::Error::new(io::ErrorKind::UnexpectedEof, self.to_string()).into(),
        }
    }
}

/// A field of the answer to HELLO as text, or an empty text.
pub(crate) fn field(greeting: &Greeting, name: &str) -> String {
    match greeting.get(name) {
        Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::SimpleString(text)) => text.clone(),
        _ => String::new(),
    }
}
