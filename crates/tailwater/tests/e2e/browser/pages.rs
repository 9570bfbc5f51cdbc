//! A server of one empty page, for origins besides that of the gateways.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::tls::Issued;

/// The server. Dropping it stops it.
pub(super) struct Pages {
    pub(super) port: u16,
    _accepting: AbortOnDropHandle<()>,
}

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 34\r\n\
    connection: close\r\n\r\n<!doctype html><title>page</title>";

impl Pages {
    pub(super) async fn start(tls: Option<&Issued>) -> Pages {
        let acceptor = tls.map(acceptor);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(socket).await,
                        Some(acceptor) => answer(acceptor.accept(socket).await?).await,
                    }
                });
            }
        });
        Pages { port, _accepting: AbortOnDropHandle::new(accepting) }
    }
}

/// Answers one request of any kind with the page.
async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    socket.write_all(PAGE).await?;
    socket.shutdown().await
}

fn acceptor(issued: &Issued) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(issued.file("tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(issued.file("tls.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(chain.map(Result::unwrap).collect(), key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}
