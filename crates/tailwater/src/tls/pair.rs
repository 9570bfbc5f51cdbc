//! A certificate with its key, from two PEM files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::validity;

/// The paths of the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PairFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The bytes of the two files.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Omits the key.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// A certificate that can be served.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// The time at which the certificate expires.
    pub(crate) not_after: Timestamp,
}

/// The two files hold no certificate that can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairError {
    #[error("{flag} {}: {error}", .file.display())]
    Unreadable { flag: &'static str, file: PathBuf, error: String },
    #[error("{flag} {} holds no {what} as PEM: {error}", .file.display())]
    NotPem { flag: &'static str, file: PathBuf, what: &'static str, error: String },
    #[error("--tls-key {} is not the key of --tls-cert {}", .0.key.display(), .0.certificate.display())]
    Mismatch(PairFiles),
    #[error("--tls-cert {} with --tls-key {}: {error}", .files.certificate.display(), .files.key.display())]
    Unfit { files: PairFiles, error: String },
}

const CERTIFICATE: &str = "--tls-cert";
const KEY: &str = "--tls-key";

impl PairFiles {
    /// Reads both files as they are now.
    pub(crate) fn read(&self) -> Result<Contents, PairError> {
        let read = |flag, file: &Path| {
            std::fs::read(file).map_err(|error| {
                let (file, error) = (file.to_owned(), error.to_string());
                PairError::Unreadable { flag, file, error }
            })
        };
        Ok(Contents {
            certificate: read(CERTIFICATE, &self.certificate)?,
            key: read(KEY, &self.key)?,
        })
    }

    /// Parses the certificate and its key, and checks that they belong together.
    pub(crate) fn pair(&self, contents: &Contents) -> Result<Pair, PairError> {
        let not_pem = |flag, file: &PathBuf, what, error: String| PairError::NotPem {
            flag,
            file: file.clone(),
            what,
            error,
        };
        let no_certificate = |error| not_pem(CERTIFICATE, &self.certificate, "certificate", error);
        let chain = CertificateDer::pem_slice_iter(&contents.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| no_certificate(error.to_string()))?;
        let not_after = match chain.first() {
            None => return Err(no_certificate("no items found".to_owned())),
            Some(leaf) => validity::not_after(leaf),
        };
        let not_after =
            not_after.ok_or_else(|| no_certificate("it has no time of expiry".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| not_pem(KEY, &self.key, "private key", error.to_string()))?;
        let key =
            CertifiedKey::from_der(chain, key, &default_provider()).map_err(
                |error| match error {
                    rustls::Error::InconsistentKeys(_) => PairError::Mismatch(self.clone()),
                    error => PairError::Unfit { files: self.clone(), error: error.to_string() },
                },
            )?;
        Ok(Pair { key: Arc::new(key), not_after })
    }
}
