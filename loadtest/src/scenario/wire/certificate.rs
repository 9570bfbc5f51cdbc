//! The certificates of a run, and clients that trust them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The host name of the certificate.
pub(in crate::scenario) const HOST: &str = "localhost";

/// The kind of a certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scenario) enum KeyKind {
    /// ECDSA on P-256: the certificate of every row but one.
    EcdsaP256,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl KeyKind {
    pub(in crate::scenario) const ALL: [Self; 2] = [Self::EcdsaP256, Self::Rsa2048];

    pub(in crate::scenario) const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "P-256",
            Self::Rsa2048 => "RSA-2048",
        }
    }

    /// The arguments that make `openssl req` create such a key.
    const fn arguments(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
            Self::Rsa2048 => "-newkey rsa:2048",
        }
    }
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(in crate::scenario) struct Certificate {
    pub(in crate::scenario) certificate: PathBuf,
    pub(in crate::scenario) key: PathBuf,
}

impl Certificate {
    /// Has `openssl` make one.
    pub(in crate::scenario) fn issue(directory: &Path, kind: KeyKind) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = |ending| directory.join(format!("{}.{ending}", kind.name()));
        let files = Self { certificate: file("crt"), key: file("key") };
        let words = "req -x509 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                     -addext basicConstraints=critical,CA:FALSE";
        let made = std::process::Command::new("openssl")
            .args(words.split_whitespace())
            .args(kind.arguments().split_whitespace())
            .arg("-keyout")
            .arg(&files.key)
            .arg("-out")
            .arg(&files.certificate)
            .output()
            .context("cannot run openssl")?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        Ok(files)
    }

    /// The flags of a node that serves with it.
    pub(in crate::scenario) fn flags(&self) -> Vec<String> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        vec![format!("--tls-cert={certificate}"), format!("--tls-key={key}")]
    }

    /// A client that trusts it, offers one protocol and may resume sessions.
    pub(in crate::scenario) fn connector(
        &self,
        protocol: &str,
        resumption: Resumption,
    ) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config.resumption = resumption;
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
