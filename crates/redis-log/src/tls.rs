//! TLS to the servers: the trusted authorities, and the own certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The files that a URL names, all in PEM.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    /// The authority to trust instead of those of the host.
    pub(crate) ca: Option<PathBuf>,
    /// The own certificate, for servers that demand one, and the certificates up to its authority.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// The reason why TLS cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTls {
    /// The trusted authorities cannot be loaded.
    #[error("no authority to trust for TLS from {from}: {reason}")]
    Authority {
        /// Their file, or the host.
        from: String,
        /// The cause.
        reason: String,
    },
    /// The own certificate cannot be loaded.
    #[error("no certificate for TLS from {cert} and {key}: {reason}")]
    Identity {
        /// The file of the certificate.
        cert: String,
        /// The file of its key.
        key: String,
        /// The cause.
        reason: String,
    },
}

/// The configuration of connections over TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    pem: Arc<Pem>,
}

/// The contents of the files, in the form that the library of the pool takes.
#[derive(PartialEq, Eq)]
struct Pem {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsFiles {
    /// Returns true if a certificate has no key, or a key no certificate.
    pub(crate) fn is_half(&self) -> bool {
        self.cert.is_some() != self.key.is_some()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.ca, &self.cert, &self.key].into_iter().flatten().map(PathBuf::as_path)
    }
}

impl Tls {
    /// Reads the files. Without an authority it trusts those that the host trusts.
    pub(crate) fn new(files: &TlsFiles) -> Result<Self, BadTls> {
        let ca = files.ca.as_deref();
        let from = || ca.map_or("this host".into(), |file| file.display().to_string());
        let authority = |reason| BadTls::Authority { from: from(), reason };
        let ca = ca.map(read).transpose().map_err(authority)?;
        let roots = ca.as_deref().map_or_else(of_host, of_pem).map_err(authority)?;
        // The library of the pool takes the default of the process, which can be set only once.
        let ring = rustls::crypto::ring::default_provider();
        let _installed = ring.clone().install_default();
        let config = ClientConfig::builder_with_provider(Arc::new(ring))
            .with_safe_default_protocol_versions()
            .map_err(|error| authority(error.to_string()))?
            .with_root_certificates(roots);
        let (config, identity) = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let identity = |reason| BadTls::Identity {
                    cert: cert.display().to_string(),
                    key: key.display().to_string(),
                    reason,
                };
                let pem = (read(cert).map_err(identity)?, read(key).map_err(identity)?);
                let (chain, key) = pair(&pem.0, &pem.1).map_err(identity)?;
                let config = config.with_client_auth_cert(chain, key);
                (config.map_err(|error| identity(error.to_string()))?, Some(pem))
            }
            _ => (config.with_no_client_auth(), None),
        };
        Ok(Self { config: Arc::new(config), pem: Arc::new(Pem { ca, identity }) })
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.config))
    }

    pub(crate) fn certificates(&self) -> TlsCertificates {
        let Pem { ca, identity } = &*self.pem;
        let client_tls = identity
            .clone()
            .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        TlsCertificates { client_tls, root_cert: ca.clone() }
    }
}

/// Two configurations are the same if their files are.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for Tls {}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| error.to_string())
}

/// Parses a certificate with its chain, and its key. No reason quotes the key.
fn pair(
    cert: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("the file holds no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key);
    Ok((chain, key.map_err(|_| "the file holds no private key".to_owned())?))
}

fn of_pem(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("the file holds no certificate".to_owned()) } else { Ok(roots) }
}

fn of_host() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _unfit) = roots.add_parsable_certificates(found.certs);
    if added == 0 { Err("this host trusts no authority".to_owned()) } else { Ok(roots) }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_authority", &self.pem.ca.is_some())
            .field("own_certificate", &self.pem.identity.is_some())
            .finish()
    }
}
