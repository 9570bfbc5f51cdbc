//! The authorities to trust when a connection uses TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use redis::TlsCertificates;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The trusted authorities: those of the host, or the operator's own.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// The operator's own, in the form that the library of the pool takes.
    pem: Option<Arc<[u8]>>,
}

impl Tls {
    /// Trusts the authorities in a PEM file, or those that the host trusts.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, String> {
        let (roots, pem) = match ca {
            Some(file) => {
                let pem = std::fs::read(file).map_err(|error| error.to_string())?;
                (of_pem(&pem)?, Some(pem.into()))
            }
            None => (of_host()?, None),
        };
        // The library of the pool takes the default of the process, which can be set only once.
        let ring = rustls::crypto::ring::default_provider();
        let _installed = ring.clone().install_default();
        let config = ClientConfig::builder_with_provider(Arc::new(ring))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), pem })
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.config))
    }

    pub(crate) fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: self.pem.as_ref().map(|pem| pem.to_vec()) }
    }
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
        f.debug_struct("Tls").field("own_authority", &self.pem.is_some()).finish()
    }
}
