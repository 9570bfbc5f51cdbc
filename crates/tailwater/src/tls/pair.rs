//! A certificate with its key, from two PEM files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
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
    NotPem { flag: &'static str, file: PathBuf, what: &'static str, error: &'static str },
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
        let not_pem = |flag, file: &PathBuf, what, error| PairError::NotPem {
            flag,
            file: file.clone(),
            what,
            error,
        };
        let no_certificate = |error| not_pem(CERTIFICATE, &self.certificate, "certificate", error);
        let chain = CertificateDer::pem_slice_iter(&contents.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| no_certificate(fault(&error)))?;
        let not_after = match chain.first() {
            None => return Err(no_certificate(fault(&pem::Error::NoItemsFound))),
            Some(leaf) => validity::not_after(leaf),
        };
        let not_after = not_after.ok_or_else(|| no_certificate("it has no time of expiry"))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| not_pem(KEY, &self.key, "private key", fault(&error)))?;
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

/// Describes a fault of PEM. The error's own text quotes the faulty line, which is the whole key if the
/// file has lost its line ends.
fn fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "no items found",
        pem::Error::IllegalSectionStart { .. } => {
            "a line begins with -----BEGIN and has no ----- at its end"
        }
        pem::Error::MissingSectionEnd { .. } => "a section has no line with -----END",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(certificate: &str, key: &str) -> String {
        let files = PairFiles { certificate: "tls.crt".into(), key: "tls.key".into() };
        let contents = Contents { certificate: certificate.into(), key: key.into() };
        files.pair(&contents).unwrap_err().to_string()
    }

    #[test]
    fn a_file_without_a_certificate_is_named_with_its_fault() {
        for (certificate, fault) in [
            ("", "no items found"),
            (
                "-----BEGIN CERTIFICATE\n",
                "a line begins with -----BEGIN and has no ----- at its end",
            ),
            ("-----BEGIN CERTIFICATE-----\nMAA=\n", "a section has no line with -----END"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "a section is not base64",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                "it has no time of expiry",
            ),
        ] {
            let expected = format!("--tls-cert tls.crt holds no certificate as PEM: {fault}");
            assert_eq!(refusal(certificate, ""), expected);
        }
    }

    #[test]
    fn a_key_without_line_ends_is_refused_and_never_shown() {
        // As much of a certificate as is read before the key: it has a time of expiry.
        let certificate = "-----BEGIN CERTIFICATE-----\n\
            MCkwJwIBATAAMAAwHhcNMjAwMTAxMDAwMDAwWhcNNDkxMjMxMjM1OTU5Wg==\n\
            -----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY----- c2VjcmV0 -----END PRIVATE KEY----";
        let error = refusal(certificate, key);
        assert!(
            error.starts_with("--tls-key tls.key holds no private key as PEM: a line"),
            "{error}"
        );
        for part in ["c2VjcmV0", "99, 50"] {
            assert!(!error.contains(part), "{error}");
        }
    }
}
