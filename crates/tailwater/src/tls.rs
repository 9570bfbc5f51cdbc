//! HTTP by TLS: handshakes, and a certificate that is replaced while the node runs.
//!
//! Absent: client certificates, several certificates by name, TLS on the operators' port.

mod pair;
mod validity;

use std::io;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use metrics::{IntCounter, IntGauge, Registry};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use pair::Files;
use pair::{Contents, Pair};

/// The time in which a client must have shaken hands.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes at a time; the others wait. When a gateway has died its clients come to the others
/// within seconds: what they hold of memory meanwhile is to have a bound.
const HANDSHAKES_MAX: usize = 1024;
/// What one connection may have encrypted for a client that does not take it: a record, not 64 KiB.
const BUFFER_BYTES: usize = 16 * 1024;
/// How often the files are looked at: certificates are renewed days before they expire.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// The protocols that are offered, the preferred one first.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// TLS with the certificate in two files.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    /// What they held at the start.
    contents: Contents,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    slots: Semaphore,
    failed: IntCounter,
    not_after: IntGauge,
}

/// The certificate that the next handshake gets.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().expect("nobody panics with it in hand")))
    }
}

impl Tls {
    /// TLS with what the files hold now, its metrics in `registry`.
    pub(crate) fn open(files: Files, registry: &Registry) -> Result<Self> {
        let contents = files.read()?;
        let pair = files.pair(&contents)?;
        let current = Arc::new(Current(RwLock::new(Arc::clone(&pair.key))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).to_vec();
        let tls = Self {
            files,
            contents,
            current,
            config: Arc::new(config),
            slots: Semaphore::new(HANDSHAKES_MAX),
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

    /// Shakes hands; `None` if the client does not.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        match timeout(HANDSHAKE_MAX, self.shake_hands(stream)).await {
            Ok(Ok(stream)) => return stream,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
        self.failed.inc();
        None
    }

    async fn shake_hands(&self, stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        // A load balancer that looks whether the port is open says nothing and fails at nothing; and
        // who says nothing takes no slot.
        if stream.peek(&mut [0]).await? == 0 {
            return Ok(None);
        }
        let _slot = self.slots.acquire().await.expect("it is never closed");
        let mut stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
        stream.get_mut().1.set_buffer_limit(Some(BUFFER_BYTES));
        Ok(Some(stream))
    }

    /// Takes up what the files hold whenever that has changed; polled for as long as the node runs.
    ///
    /// Compares contents: a secret of Kubernetes is swapped by a symbolic link, and other tools keep
    /// times or rewrite in place. What cannot be used is told once and the last good pair is kept, as
    /// a new certificate may be there a moment before its key.
    pub(crate) async fn keep_fresh(&self) {
        let mut seen = Ok(self.contents.clone());
        loop {
            sleep(RELOAD_EVERY).await;
            let files = self.files.clone();
            let now = spawn_blocking(move || files.read()).await.expect("reading does not panic");
            if now == seen {
                continue;
            }
            match now.clone().and_then(|contents| self.files.pair(&contents)) {
                Ok(pair) => {
                    tracing::info!(not_after = %pair.not_after, "certificate replaced");
                    self.serve_with(pair);
                }
                Err(error) => tracing::error!(%error, "certificate not replaced"),
            }
            seen = now;
        }
    }

    fn serve_with(&self, pair: Pair) {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        if pair.not_after.as_duration() < SignedDuration::try_from(since_1970).unwrap_or_default() {
            tracing::warn!(not_after = %pair.not_after, "the certificate has expired");
        }
        self.not_after.set(pair.not_after.as_second());
        *self.current.0.write().expect("nobody panics with it in hand") = pair.key;
    }
}
