//! A connection to a server: its start, encryption, authentication, and queries.
//!
//! The messages and the authentication are those of `postgres-protocol`, on which tokio-postgres stands too. The connection
//! itself is here because the released tokio-postgres cannot replicate.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::postgres::server::{Server, Tls};
use crate::source::Failure;

/// The bytes of a connection, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The use of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Queries.
    Sql,
    /// Queries first, then the server's changes.
    Replication,
}

/// A connection that waits for a query.
pub(crate) struct PostgresClient {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) input: BytesMut,
    is_encrypted: bool,
}

/// A row of an answer: its columns as texts.
pub(crate) type Row = Vec<Option<String>>;

/// The longest wait for a connection, and for the answer to a query.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The time after which bytes that the server's machine has not taken cut the connection, in milliseconds. A reader writes all
/// the time, and a server that has nothing to send is silent, as one is that has vanished.
#[cfg(target_os = "linux")]
const UNHEARD_MAX: u32 = 30_000;
/// The longest message of a server that is not a change, in bytes.
pub(crate) const MESSAGE_MAX: usize = 4 << 20;
/// Most rows of an answer.
const ROWS_MAX: usize = 10_000;
/// The name by which the server shows the connection.
const APPLICATION: &str = "tailwater";

impl fmt::Debug for PostgresClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresClient").field("is_encrypted", &self.is_encrypted).finish()
    }
}

/// A failure of the network.
pub(crate) fn cut(error: impl fmt::Display) -> Failure {
    Failure::Away(format!("the connection is cut: {error}"))
}

/// A message that no server sends at this point.
fn strange(what: &str) -> Failure {
    Failure::Away(format!("the server sends {what} out of turn"))
}

/// The meaning of an error of the server for the source.
pub(crate) fn failure(body: &ErrorResponseBody) -> Failure {
    let (mut code, mut text) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes());
        match field.type_() {
            b'C' => code = value.into_owned(),
            b'M' => text = value.into_owned(),
            b'D' | b'H' => text = format!("{text}; {value}"),
            _ => {}
        }
    }
    let told = format!("the server says {code}: {text}");
    match &*code {
        // A publication that is younger than the slot is unknown to it for ever.
        "42704" if text.contains("publication") => Failure::Refused(format!(
            "{told}. A publication must be older than the slot: make the publication, drop the slot and make it again"
        )),
        // The slot is in use: its reader may be a relay that is about to leave.
        "55006" => Failure::Away(told),
        "55000" => Failure::Refused(told),
        _ => match code.get(..2) {
            // Authentication, an unknown database, rights and names, features, parameters.
            Some("28" | "3D" | "42" | "0A" | "22") => Failure::Refused(told),
            _ => Failure::Away(told),
        },
    }
}

/// Returns true if a server lets nobody in because it is stopping.
pub(crate) fn is_stopping(failure: &Failure) -> bool {
    matches!(failure, Failure::Away(told) if told.starts_with("the server says 57P03"))
}

impl PostgresClient {
    /// Connects, and is let in.
    ///
    /// # Errors
    /// The server cannot be reached, or does not let this user in.
    pub(crate) async fn open(server: &Server, purpose: Purpose) -> Result<Self, Failure> {
        let Server { host, port, .. } = server;
        let opened = timeout(ANSWER_MAX, Self::try_open(server, purpose)).await;
        let late = |_| Failure::Away(format!("{host}:{port} does not answer for {ANSWER_MAX:?}"));
        opened.map_err(late)?
    }

    async fn try_open(server: &Server, purpose: Purpose) -> Result<Self, Failure> {
        let Server { host, port, user, database, .. } = server;
        let password = server.password().await.map_err(Failure::Refused)?;
        let away = |error| Failure::Away(format!("{host}:{port}: {error}"));
        let tcp = TcpStream::connect((&**host, *port)).await.map_err(away)?;
        tcp.set_nodelay(true).map_err(away)?;
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_tcp_user_timeout(&tcp, UNHEARD_MAX)
            .map_err(|e| away(e.into()))?;
        let mut connection = Self::encrypted(server, tcp).await?;
        let mut parameters = vec![
            ("user", user.as_str()),
            ("database", database),
            ("client_encoding", "UTF8"),
            ("application_name", APPLICATION),
        ];
        if purpose == Purpose::Replication {
            parameters.push(("replication", "database"));
        }
        connection.send(|out| frontend::startup_message(parameters, out)).await?;
        connection.authenticate(user, password.as_deref()).await?;
        loop {
            match connection.message().await? {
                Message::ReadyForQuery(_) => return Ok(connection),
                Message::ErrorResponse(body) => return Err(failure(&body)),
                _ => {}
            }
        }
    }

    async fn encrypted(server: &Server, mut tcp: TcpStream) -> Result<Self, Failure> {
        let plain = |tcp| Self { wire: Box::new(tcp), input: BytesMut::new(), is_encrypted: false };
        if server.tls == Tls::Off {
            return Ok(plain(tcp));
        }
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await.map_err(cut)?;
        match tcp.read_u8().await.map_err(cut)? {
            b'S' => {
                let refused = |error: String| Failure::Refused(format!("TLS: {error}"));
                let (name, config) = server.certificates().await.map_err(refused)?;
                let tls = TlsConnector::from(config).connect(name, tcp).await;
                let tls = tls.map_err(|error| refused(error.to_string()))?;
                Ok(Self { wire: Box::new(tls), input: BytesMut::new(), is_encrypted: true })
            }
            b'N' if server.tls == Tls::Prefer => Ok(plain(tcp)),
            b'N' => Err(Failure::Refused(
                "the server has no TLS; tls = \"prefer\" or \"off\" does without it".to_owned(),
            )),
            _ => Err(strange("an answer to the question for TLS")),
        }
    }

    async fn authenticate(&mut self, user: &str, password: Option<&[u8]>) -> Result<(), Failure> {
        let missing =
            || Failure::Refused("the server asks for a password; set password-file".to_owned());
        loop {
            match self.message().await? {
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    let password = password.ok_or_else(missing)?;
                    if !self.is_encrypted {
                        let reason = "the server asks for the password in clear text, without TLS";
                        return Err(Failure::Refused(reason.to_owned()));
                    }
                    self.send(|out| frontend::password_message(password, out)).await?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let password = password.ok_or_else(missing)?;
                    let hash = md5_hash(user.as_bytes(), password, body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                }
                Message::AuthenticationSasl(body) => {
                    let password = password.ok_or_else(missing)?;
                    let mut names = body.mechanisms();
                    let mut has_scram = false;
                    while let Some(name) = names.next().map_err(cut)? {
                        has_scram |= name == SCRAM_SHA_256;
                    }
                    if !has_scram {
                        let reason = format!("the server does not offer {SCRAM_SHA_256}");
                        return Err(Failure::Refused(reason));
                    }
                    self.scram(password).await?;
                }
                Message::ErrorResponse(body) => return Err(failure(&body)),
                Message::NoticeResponse(_) => {}
                _ => {
                    let reason = "the server asks for an authentication other than SCRAM-SHA-256, \
                                  MD5 or a password in clear text";
                    return Err(Failure::Refused(reason.to_owned()));
                }
            }
        }
    }

    async fn scram(&mut self, password: &[u8]) -> Result<(), Failure> {
        let refused = |error: std::io::Error| Failure::Refused(format!("SCRAM: {error}"));
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out))
            .await?;
        match self.message().await? {
            Message::AuthenticationSaslContinue(body) => {
                scram.update(body.data()).map_err(refused)?;
            }
            Message::ErrorResponse(body) => return Err(failure(&body)),
            _ => return Err(strange("a step of SCRAM")),
        }
        self.send(|out| frontend::sasl_response(scram.message(), out)).await?;
        match self.message().await? {
            // The server shows that it knows the password too.
            Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(refused),
            Message::ErrorResponse(body) => Err(failure(&body)),
            _ => Err(strange("a step of SCRAM")),
        }
    }

    /// Sends a query, and returns the rows of its answer.
    ///
    /// # Errors
    /// The connection was lost, or the server refuses.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        let late = |_| Failure::Away(format!("a query has no answer after {ANSWER_MAX:?}"));
        timeout(ANSWER_MAX, self.try_query(sql)).await.map_err(late)?
    }

    async fn try_query(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.send(|out| frontend::query(sql, out)).await?;
        let (mut rows, mut result) = (Vec::new(), Ok(()));
        loop {
            match self.message().await? {
                Message::DataRow(body) => {
                    if rows.len() == ROWS_MAX {
                        let reason = format!("an answer has more than {ROWS_MAX} rows");
                        return Err(Failure::Away(reason));
                    }
                    let mut ranges = body.ranges();
                    let mut row = Row::new();
                    while let Some(range) = ranges.next().map_err(cut)? {
                        let text = |range| String::from_utf8_lossy(&body.buffer()[range]).into();
                        row.push(range.map(text));
                    }
                    rows.push(row);
                }
                Message::ErrorResponse(body) => result = Err(failure(&body)),
                Message::ReadyForQuery(_) => return result.map(|()| rows),
                _ => {}
            }
        }
    }

    /// Sends a query whose answer is a stream in both directions, and waits for its beginning.
    ///
    /// # Errors
    /// The connection was lost, or the server refuses.
    pub(crate) async fn start(&mut self, sql: &str) -> Result<(), Failure> {
        const COPY_BOTH: u8 = b'W';
        self.send(|out| frontend::query(sql, out)).await?;
        let begun = async {
            loop {
                let header = self.whole().await?;
                if header.tag() == COPY_BOTH {
                    let _copy = self.input.split_to(length(header) + 1);
                    return Ok(());
                }
                match self.message().await? {
                    Message::ErrorResponse(body) => return Err(failure(&body)),
                    Message::ReadyForQuery(_) => return Err(strange("the end of an answer")),
                    _ => {}
                }
            }
        };
        let late = |_| Failure::Away(format!("the server sends nothing for {ANSWER_MAX:?}"));
        timeout(ANSWER_MAX, begun).await.map_err(late)?
    }

    async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| Failure::Refused(error.to_string()))?;
        self.wire.write_all(&out).await.map_err(cut)?;
        self.wire.flush().await.map_err(cut)
    }

    /// Waits until a whole message has come.
    async fn whole(&mut self) -> Result<Header, Failure> {
        loop {
            if let Some(header) = Header::parse(&self.input).map_err(cut)? {
                if length(header) > MESSAGE_MAX {
                    let bytes = length(header);
                    let reason = format!("a message has {bytes} bytes; the limit is {MESSAGE_MAX}");
                    return Err(Failure::Away(reason));
                }
                if self.input.len() > length(header) {
                    return Ok(header);
                }
            }
            if self.wire.read_buf(&mut self.input).await.map_err(cut)? == 0 {
                return Err(cut("the server has closed it"));
            }
        }
    }

    async fn message(&mut self) -> Result<Message, Failure> {
        self.whole().await?;
        let message = Message::parse(&mut self.input).map_err(cut)?;
        message.ok_or_else(|| strange("half a message"))
    }
}

/// The length of a message without its tag.
pub(crate) fn length(header: Header) -> usize {
    usize::try_from(header.len()).unwrap_or(usize::MAX - 1)
}
