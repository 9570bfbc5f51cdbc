//! A key server over HTTPS. While it is away, its port refuses connections.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use loadtest::machine::Port;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::Mint;
use crate::access::key_server::set;
use crate::tls::Issued;

pub(super) struct KeyServer {
    issued: Issued,
    port: Port,
    published: Arc<Published>,
    running: Option<Running>,
}

#[derive(Default)]
struct Published {
    set: Mutex<String>,
    served: AtomicU64,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl KeyServer {
    pub(super) async fn start(keys: &[&Mint]) -> Self {
        let (issued, port) = (Issued::new(), Port::reserve().unwrap());
        let mut server = Self { issued, port, published: Arc::default(), running: None };
        server.publish(keys);
        server.come_back().await;
        server
    }

    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}/keys", self.port.number())
    }

    /// The file with the authority of its certificate.
    pub(super) fn authority(&self) -> String {
        self.issued.file("ca.crt")
    }

    /// The number of sets that it has served.
    pub(super) fn served(&self) -> u64 {
        self.published.served.load(Relaxed)
    }

    pub(super) fn publish(&self, keys: &[&Mint]) {
        *self.published.set.lock().unwrap() = set(keys);
    }

    /// Closes the port and every connection.
    pub(super) async fn leave(&mut self) {
        let Running { stop, task } = self.running.take().expect("it is here");
        stop.send(()).expect("it waits for this");
        task.await.unwrap().unwrap();
    }

    pub(super) async fn come_back(&mut self) {
        let listener = Encrypted {
            tcp: TcpListener::bind(self.port.addr()).await.unwrap(),
            tls: acceptor(&self.issued),
        };
        let routes =
            Router::new().route("/keys", get(keys)).with_state(Arc::clone(&self.published));
        let (stop, stopped) = oneshot::channel();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(async {
            stopped.await.ok();
        });
        self.running = Some(Running { stop, task: tokio::spawn(serve.into_future()) });
    }
}

async fn keys(State(published): State<Arc<Published>>) -> impl IntoResponse {
    published.served.fetch_add(1, Relaxed);
    // The shortest time for which a node keeps a set: 5 minutes.
    ([(CACHE_CONTROL, "max-age=300")], published.set.lock().unwrap().clone())
}

struct Encrypted {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((socket, from)) = self.tcp.accept().await
                && let Ok(stream) = self.tls.accept(socket).await
            {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn acceptor(issued: &Issued) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(issued.file("tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(issued.file("tls.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
