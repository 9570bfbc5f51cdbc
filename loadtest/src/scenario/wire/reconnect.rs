//! Clients that come back over TLS at another node: the share of full handshakes, and the CPU time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, NamedGroup};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{Certificate, HOST};
use crate::cost::contender::Stack;

/// The flag of a node that shares its ticket keys with others.
pub(super) const FLAG: &str = "--tls-ticket-keys";
const KEY_BYTES: usize = 32;
const REQUEST: &[u8] = b"GET /v1/events?topic=bench HTTP/1.1\r\nhost: localhost\r\n\
    accept: text/event-stream\r\n\r\n";
const READY: &[u8] = b"tailwater.ready";
/// Connections that are made and closed before anything is measured, so that lazy parts are made.
const WARM_UP: usize = 50;
/// After a change, before CPU time is read.
const PAUSE: Duration = Duration::from_millis(300);
/// The first bytes of a stream may take this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server that sends tickets sends them with its handshake; this is far more.
const TICKET_PATIENCE: Duration = Duration::from_millis(200);
/// A client comes back once and needs one ticket; rustls keeps eight of one server.
const SESSIONS: usize = 8;

/// The cost of coming back.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ReconnectCost {
    /// Full handshakes of all that came back, in percent.
    pub(super) full_share: f64,
    /// CPU microseconds of the second node for a client without a ticket, until its ready event.
    pub(super) full_us: f64,
    /// The same for a client that was at the first node before.
    pub(super) return_us: f64,
}

/// Writes a file with one fresh ticket key, as `--tls-ticket-keys` takes it.
pub(super) fn ticket_keys(directory: &Path) -> Result<PathBuf> {
    let mut key = [0; KEY_BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut key).ok().context("no random bytes")?;
    let path = directory.join("ticket-keys");
    std::fs::write(&path, format!("{}\n", BASE64_STANDARD.encode(key)))?;
    Ok(path)
}

/// Lets `count` clients connect to the second node in full, then as many others to the first node
/// and, with the tickets of the first, to the second.
pub(super) async fn measure(
    [first, second]: [&Stack; 2],
    certificate: &Certificate,
    count: usize,
) -> Result<ReconnectCost> {
    let (there, here) = (first.endpoint().subscribe, second.endpoint().subscribe);
    let stranger = Visitor::new(certificate, false)?;
    for address in [there, here] {
        for _ in 0..WARM_UP {
            drop(stranger.connect(address).await?);
        }
    }
    sleep(PAUSE).await;

    let before = second.cpu()?;
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(stranger.connect(here).await?);
    }
    sleep(PAUSE).await;
    let full = second.cpu()? - before;
    let is_full =
        |stream: &Stream| stream.get_ref().1.handshake_kind() != Some(HandshakeKind::Resumed);
    ensure!(streams.iter().all(is_full), "a client without a ticket resumed a session");
    drop(streams);

    let mut visitors = Vec::new();
    for _ in 0..count {
        let visitor = Visitor::new(certificate, true)?;
        let mut stream = visitor.connect(there).await?;
        visitor.wait_for_ticket(&mut stream).await?;
        visitors.push(visitor);
    }
    sleep(PAUSE).await;

    let before = second.cpu()?;
    let mut streams = Vec::new();
    for visitor in &visitors {
        streams.push(visitor.connect(here).await?);
    }
    sleep(PAUSE).await;
    let back = second.cpu()? - before;
    let full_handshakes = streams.iter().filter(|stream| is_full(stream)).count();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    Ok(ReconnectCost {
        full_share: 100.0 * full_handshakes as f64 / count as f64,
        full_us: each(full.all),
        return_us: each(back.all),
    })
}

type Stream = TlsStream<TcpStream>;

/// A client with its own store of tickets.
struct Visitor {
    connector: TlsConnector,
    tickets: Arc<Tickets>,
}

impl Visitor {
    fn new(certificate: &Certificate, keeps_tickets: bool) -> Result<Self> {
        let tickets = Arc::new(Tickets::new());
        let resumption = match keeps_tickets {
            true => Resumption::store(Arc::clone(&tickets) as Arc<dyn ClientSessionStore>),
            false => Resumption::disabled(),
        };
        let connector = certificate.connector("http/1.1", resumption)?;
        Ok(Self { connector, tickets })
    }

    /// Opens a stream and reads up to its ready event.
    async fn connect(&self, address: SocketAddr) -> Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = self.connector.connect(ServerName::try_from(HOST)?, stream).await?;
        stream.write_all(REQUEST).await?;
        let mut read = Vec::new();
        while memchr::memmem::find(&read, READY).is_none() {
            let count = timeout(PATIENCE, stream.read_buf(&mut read)).await;
            let count = count.context("no ready event came")??;
            ensure!(count > 0, "refused: {}", String::from_utf8_lossy(&read));
        }
        Ok(stream)
    }

    /// Reads on until a ticket has come, or none will.
    async fn wait_for_ticket(&self, stream: &mut Stream) -> Result<()> {
        let until = Instant::now() + TICKET_PATIENCE;
        let mut read = [0; 1024];
        while self.tickets.count() == 0 {
            match timeout_at(until, stream.read(&mut read)).await {
                Ok(count) => ensure!(count? > 0, "the server closed a stream"),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// The sessions of one client, with the number of tickets that have come.
#[derive(Debug)]
struct Tickets {
    sessions: ClientSessionMemoryCache,
    count: AtomicUsize,
}

impl Tickets {
    fn new() -> Self {
        Self { sessions: ClientSessionMemoryCache::new(SESSIONS), count: AtomicUsize::new(0) }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sessions.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sessions.insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(server_name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::ProducesTickets;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::super::certificate::KeyKind;
    use super::*;

    /// A node that shows every client a ready event.
    async fn node(
        certificate: &Certificate,
        ticketer: Option<Arc<dyn ProducesTickets>>,
    ) -> SocketAddr {
        let chain = CertificateDer::pem_file_iter(&certificate.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        if let Some(ticketer) = ticketer {
            config.ticketer = ticketer;
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(READY).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
        address
    }

    async fn second_handshake(tickets: [Option<Arc<dyn ProducesTickets>>; 2]) -> HandshakeKind {
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::issue(directory.path(), KeyKind::EcdsaP256).unwrap();
        let [first, second] = tickets;
        let (first, second) = (node(&certificate, first).await, node(&certificate, second).await);
        let visitor = Visitor::new(&certificate, true).unwrap();
        let mut stream = visitor.connect(first).await.unwrap();
        visitor.wait_for_ticket(&mut stream).await.unwrap();
        drop(stream);
        let stream = visitor.connect(second).await.unwrap();
        stream.get_ref().1.handshake_kind().unwrap()
    }

    #[tokio::test]
    async fn a_client_resumes_at_a_node_that_shares_the_keys_and_at_no_other() {
        let ticketer = || rustls::crypto::ring::Ticketer::new().unwrap();
        let shared = ticketer();
        let resumed = second_handshake([Some(Arc::clone(&shared)), Some(shared)]).await;
        assert_eq!(resumed, HandshakeKind::Resumed);
        for pair in [[None, None], [Some(ticketer()), Some(ticketer())]] {
            assert_ne!(second_handshake(pair).await, HandshakeKind::Resumed);
        }
    }

    #[test]
    fn ticket_keys_are_a_line_of_base64() {
        let directory = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(ticket_keys(directory.path()).unwrap()).unwrap();
        let key = BASE64_STANDARD.decode(text.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(key.len(), KEY_BYTES);
    }
}
