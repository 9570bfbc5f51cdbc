//! HTTP over TLS. The certificate and the ticket keys can be replaced while the node runs.
//!
//! Absent: client certificates, several certificates by name, TLS on the operators' port, early data.

mod pair;
mod slots;
mod ticket_keys;
mod ticketer;
mod validity;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use limits::{AddressShare, Client};
use metrics::{Counters, IntCounter, IntGauge, Registry, label};
use rustls::crypto::hash::HashAlgorithm;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig, SupportedCipherSuite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use pair::{Contents, Pair, PairFiles};
pub(crate) use slots::Slots;
use ticket_keys::{TicketKeyFile, TicketKeyText};
use ticketer::Ticketer;

use crate::follow::follow;

/// The time in which a client must complete its handshake, once its hello is there, and in which it must
/// send the first byte of one.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The time for the rest of a hello, which fits into a few packets.
const HELLO_MAX: Duration = Duration::from_secs(2);
/// Maximum number of encrypted bytes that wait for one client: one record, less than rustls' 64 KiB.
const BUFFER_BYTES: usize = 16 * 1024;
/// Tickets for each handshake of TLS 1.3. A browser uses a ticket once. A load balancer that has not
/// noticed a node's death wastes one, and the second is for the next attempt.
const TICKETS: usize = 2;

/// The protocols that ALPN offers, the preferred one first.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The configuration files of TLS.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pair: PairFiles,
    ticket_keys: Option<TicketKeyFile>,
}

impl Files {
    pub(crate) fn new(certificate: PathBuf, key: PathBuf, ticket_keys: Option<PathBuf>) -> Self {
        let ticket_keys = ticket_keys.map(TicketKeyFile::new);
        Self { pair: PairFiles { certificate, key }, ticket_keys }
    }

    /// Reads the files, and returns a description for a person.
    pub(crate) fn check(&self) -> Result<String> {
        let pair = self.pair.pair(&self.pair.read()?)?;
        let mut found = format!("certificate until {}", pair.not_after);
        if let Some(file) = &self.ticket_keys {
            let keys = file.keys(&file.read()?)?.len();
            found.push_str(&format!(", ticket keys: {keys}"));
        }
        Ok(found)
    }
}

/// TLS with the certificate in two files, and with the ticket keys in a third one if there is one.
#[derive(Debug)]
pub(crate) struct Tls {
    files: PairFiles,
    /// The contents of the files at the start.
    contents: Contents,
    current: Arc<Current>,
    tickets: Option<SharedTickets>,
    config: Arc<ServerConfig>,
    slots: Slots,
    handshakes: Counters<Handshake>,
    failed: IntCounter,
    not_after: IntGauge,
}

/// The certificate that the next handshake gets.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().expect("no holder of this lock panics")))
    }
}

/// Tickets whose keys come from a file.
#[derive(Debug)]
struct SharedTickets {
    file: TicketKeyFile,
    /// The contents of the file at the start.
    text: TicketKeyText,
    ticketer: Arc<Ticketer>,
}

impl SharedTickets {
    fn open(file: TicketKeyFile) -> Result<Self> {
        let text = file.read()?;
        let ticketer = Arc::new(Ticketer::new(file.keys(&text)?));
        Ok(Self { file, text, ticketer })
    }

    async fn keep_fresh(&self) {
        let file = self.file.clone();
        follow(
            Ok(self.text.clone()),
            move || file.read(),
            |text| match text.clone().and_then(|text| self.file.keys(&text)) {
                Ok(keys) => {
                    tracing::info!(keys = keys.len(), "ticket keys replaced");
                    self.ticketer.replace(keys);
                }
                Err(error) => tracing::error!(%error, "ticket keys not replaced"),
            },
        )
        .await;
    }
}

label! {
    /// The kind of a handshake that succeeded.
    enum Handshake as "kind" {
        /// A handshake with the certificate's signature.
        Full => "full",
        /// A handshake with a session ticket and without a signature.
        Resumed => "resumed",
    }
}

impl Tls {
    /// Reads the files and registers the metrics in `registry`.
    pub(crate) fn open(files: Files, share: AddressShare, registry: &Registry) -> Result<Self> {
        let Files { pair: files, ticket_keys } = files;
        let contents = files.read()?;
        let pair = files.pair(&contents)?;
        let current = Arc::new(Current(RwLock::new(Arc::clone(&pair.key))));
        let tickets = ticket_keys.map(SharedTickets::open).transpose()?;
        let tls = Self {
            files,
            contents,
            config: Arc::new(config(&current, tickets.as_ref())?),
            current,
            tickets,
            slots: Slots::new(share, registry),
            handshakes: registry.counters(
                "tls_handshakes_total",
                "TLS handshakes that succeeded, in full or by resuming a session.",
            ),
            failed: registry.counter(
                "tls_handshakes_failed_total",
                "TLS handshakes that clients did not complete.",
            ),
            not_after: registry.gauge(
                "tls_certificate_not_after_seconds",
                "When the certificate expires, in seconds since 1970.",
            ),
        };
        tls.serve_with(pair);
        Ok(tls)
    }

    /// Completes the handshake. Returns `None` if the client does not complete it.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        client: Client,
    ) -> Option<TlsStream<TcpStream>> {
        match self.shake_hands(stream, client).await {
            Ok(stream) => return stream,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                tracing::debug!("TLS handshake took too long");
            }
            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
        }
        self.failed.inc();
        None
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        client: Client,
    ) -> io::Result<Option<TlsStream<TcpStream>>> {
        // A load balancer that checks the port connects and sends nothing, which is no failure.
        if within(HANDSHAKE_MAX, stream.peek(&mut [0])).await? == 0 {
            return Ok(None);
        }
        // A client takes a slot when its hello is whole: half of one costs it nothing.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let start = within(HELLO_MAX, hello).await?;
        let config = Arc::clone(&self.config);
        within(HANDSHAKE_MAX, async {
            let _slot = self.slots.slot(client).await;
            let mut stream = start.into_stream(config).await?;
            let session = stream.get_mut().1;
            session.set_buffer_limit(Some(BUFFER_BYTES));
            let handshake = match session.handshake_kind() {
                Some(HandshakeKind::Resumed) => Handshake::Resumed,
                _ => Handshake::Full,
            };
            self.handshakes.of(handshake).inc();
            Ok(Some(stream))
        })
        .await
    }

    /// Watches the files, and uses new contents for the next handshakes. Never returns.
    ///
    /// Unusable contents are logged once, and the last good ones stay in use: a new certificate may be
    /// written a moment before its key.
    pub(crate) async fn keep_fresh(&self) {
        let certificate = self.keep_certificate_fresh();
        match &self.tickets {
            Some(tickets) => {
                tokio::join!(certificate, tickets.keep_fresh());
            }
            None => certificate.await,
        }
    }

    async fn keep_certificate_fresh(&self) {
        let files = self.files.clone();
        follow(
            Ok(self.contents.clone()),
            move || files.read(),
            |contents| match contents.clone().and_then(|contents| self.files.pair(&contents)) {
                Ok(pair) => {
                    tracing::info!(not_after = %pair.not_after, "certificate replaced");
                    self.serve_with(pair);
                }
                Err(error) => tracing::error!(%error, "certificate not replaced"),
            },
        )
        .await;
    }

    fn serve_with(&self, pair: Pair) {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        if pair.not_after.as_duration() < SignedDuration::try_from(since_1970).unwrap_or_default() {
            tracing::warn!(not_after = %pair.not_after, "the certificate has expired");
        }
        self.not_after.set(pair.not_after.as_second());
        *self.current.0.write().expect("no holder of this lock panics") = pair.key;
    }
}

/// Fails when the time is over.
async fn within<T>(time: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(time, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Returns the configuration of rustls. Without shared keys, tickets are encrypted with keys of this
/// process, which rustls replaces every six hours, so clients can resume on this node only.
fn config(certificate: &Arc<Current>, tickets: Option<&SharedTickets>) -> Result<ServerConfig> {
    let mut provider = rustls::crypto::ring::default_provider();
    // AES-128 with SHA-256 first: ring computes SHA-256 with the processor's instructions and SHA-384
    // without, and the key schedule of a handshake is mostly hashing (docs/adr/0011). A client that
    // supports no SHA-256 suite gets AES-256 with SHA-384.
    provider.cipher_suites.sort_by_key(|suite| hash(suite) != HashAlgorithm::SHA256);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Current>::clone(certificate));
    config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).to_vec();
    config.ticketer = match tickets {
        Some(tickets) => Arc::<Ticketer>::clone(&tickets.ticketer),
        None => rustls::crypto::ring::Ticketer::new().context("TLS session tickets")?,
    };
    config.ignore_client_order = true;
    config.send_tls13_tickets = TICKETS;
    // Clients keep their sessions, in tickets, so the node stores none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn hash(suite: &SupportedCipherSuite) -> HashAlgorithm {
    let common = match suite {
        SupportedCipherSuite::Tls12(suite) => &suite.common,
        SupportedCipherSuite::Tls13(suite) => &suite.common,
    };
    common.hash_provider.algorithm()
}
