//! TLS towards a source: the certificate authorities of the machine, or those of a file instead.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Reads the certificate authorities, and makes a configuration that trusts them and no others.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub(crate) fn client(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _unfit) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err("this machine trusts no authority; set ca-file".to_owned());
            }
        }
        Some(path) => {
            let named = |reason: String| format!("ca-file {}: {reason}", path.display());
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| named(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| named(error.to_string()))?;
                roots.add(certificate).map_err(|error| named(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(named("it has no certificate".to_owned()));
            }
        }
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
