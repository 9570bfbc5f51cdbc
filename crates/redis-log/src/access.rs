//! Opens connections to any server of a deployment.

use std::io;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::address::Address;
use crate::credentials::{Credentials, Login};
use crate::tls::Tls;

/// A dead peer is noticed after a silence of 2 s and 2 probes of 1 s: otherwise the pool would lend a
/// half-open connection again and again.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// The credentials of the moment, and the time-outs.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) credentials: watch::Receiver<Credentials>,
    pub(crate) party: Party,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
}

/// The kind of a server, which decides the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// It holds the log.
    Server,
    Sentinel,
}

/// Bytes to and from a server, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Access {
    /// The same access to servers of another kind.
    pub(crate) fn to(&self, party: Party) -> Self {
        Self { party, ..self.clone() }
    }

    /// The same access with other credentials.
    pub(crate) fn with(&self, credentials: Credentials) -> Self {
        Self { credentials: watch::channel(credentials).1, ..self.clone() }
    }

    /// The login of the moment.
    pub(crate) fn login(&self) -> Login {
        let credentials = self.credentials.borrow();
        match self.party {
            Party::Server => credentials.login.clone(),
            Party::Sentinel => credentials.sentinels.clone(),
        }
    }

    fn tls(&self) -> Option<Tls> {
        self.credentials.borrow().tls.clone()
    }

    /// The same for the library of the pool.
    pub(crate) fn info(&self, address: &Address) -> Result<ConnectionInfo, RedisError> {
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(2);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive)
            .set_user_timeout(USER_TIMEOUT);
        // The library would tell its name by a command that the documented rights lack: a denial in the server's
        // log for each connection.
        let Login { user, password } = self.login();
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        let (host, port) = (address.host().to_owned(), address.port());
        let set_up = |addr: ConnectionAddr| -> Result<ConnectionInfo, RedisError> {
            Ok(addr.into_connection_info()?.set_tcp_settings(tcp).set_redis_settings(login))
        };
        let Some(tls) = self.tls() else { return set_up(ConnectionAddr::Tcp(host, port)) };
        let addr = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        let client = Client::build_with_tls(set_up(addr)?, tls.certificates())?;
        Ok(client.get_connection_info().clone())
    }

    /// The time-outs of a connection for commands.
    pub(crate) fn limits(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.timeout))
    }

    /// Opens a connection for a few questions.
    pub(crate) async fn connection(
        &self,
        address: &Address,
    ) -> Result<MultiplexedConnection, RedisError> {
        let client = Client::open(self.info(address)?)?;
        // Boxed: the future has room for a whole handshake.
        Box::pin(client.get_multiplexed_async_connection_with_config(&self.limits())).await
    }

    /// Opens a connection with a single user, before any command.
    pub(crate) async fn stream(&self, address: &Address) -> io::Result<Box<dyn Stream>> {
        let connected = timeout(self.connect_timeout, async {
            let stream = TcpStream::connect((address.host(), address.port())).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = self.tls() else { return Ok(Box::new(stream) as Box<dyn Stream>) };
            let name = ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?;
            Ok(Box::new(tls.connector().connect(name, stream).await?))
        });
        connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Redis 7.2 and later would log a denial for each connection of a user with the documented rights.
    #[test]
    fn a_connection_does_not_tell_the_name_of_its_library() {
        let url: crate::RedisUrl = "redis://me:s3cret@127.0.0.1:1".parse().unwrap();
        let (_, access) = crate::Config::new(url).access();
        let info = access.info(&Address::new("127.0.0.1", 1)).unwrap();
        assert!(info.redis_settings().skip_set_lib_name());
    }
}
