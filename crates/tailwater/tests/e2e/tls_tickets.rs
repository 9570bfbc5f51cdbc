//! TLS sessions: cipher suites, and tickets with which a client resumes at any node while the keys rotate.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use loadtest::machine::Tailwater;
use rustls::HandshakeKind::{self, Full, Resumed};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::tailwater;
use crate::support::{metric, serve, until};
use crate::tls::{Issued, swap};

/// Three keys, as `openssl rand -base64 32` writes them.
const KEYS: [&str; 3] = [
    "kJ0ptqB2jV3ZyH1cFQd3mYk0mV2m0hZc3sZc1G5m8Xk=",
    "Q2bHhB0mXo3b0F5xQm9c1u3r6V8y0E2g4I6k8M0o2q0=",
    "8Uu0dZ2f4h6j8l0n2p4r6t8v0x2z4B6D8F0H2J4L6N8=",
];

/// A directory with the file `keys`, behind a symbolic link, as Kubernetes mounts a secret.
struct KeyFile(TempDir);

impl KeyFile {
    fn with(text: &str) -> KeyFile {
        let file = KeyFile(TempDir::new().unwrap());
        file.replace("first", text);
        file
    }

    fn path(&self) -> String {
        self.link().join("keys").display().to_string()
    }

    fn link(&self) -> PathBuf {
        self.0.path().join("current")
    }

    /// Points the link to a new directory. Each name can be used once.
    fn replace(&self, name: &str, text: &str) {
        let directory = self.0.path().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("keys"), text).unwrap();
        swap(&self.link(), &directory);
    }
}

fn lines(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}

/// A client that stores sessions by server name, like browsers. The port does not matter.
struct Client(Arc<ClientConfig>);

impl Client {
    fn trusting(issued: &Issued, version: &'static SupportedProtocolVersion) -> Client {
        Client::offering(default_provider().cipher_suites, issued, version)
    }

    fn offering(
        cipher_suites: Vec<SupportedCipherSuite>,
        issued: &Issued,
        version: &'static SupportedProtocolVersion,
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(issued.file("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(CryptoProvider { cipher_suites, ..default_provider() });
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // If a ticket allowed early data, the client would send some.
        config.enable_early_data = true;
        Client(Arc::new(config))
    }

    /// Subscribes and returns the kind of handshake. The client then has its tickets.
    async fn subscribe(&self, to: SocketAddr) -> HandshakeKind {
        self.session(to).await.0
    }

    async fn session(&self, to: SocketAddr) -> (HandshakeKind, CipherSuite) {
        let stream = TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream =
            TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await.unwrap();
        let request = b"GET /v1/events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains("tailwater.ready") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the stream ended");
        }
        let session = stream.get_ref().1;
        assert!(!session.is_early_data_accepted(), "a request that can be replayed");
        let suite = session.negotiated_cipher_suite().unwrap().suite();
        (session.handshake_kind().unwrap(), suite)
    }
}

async fn node(issued: &Issued, keys: &KeyFile) -> Tailwater {
    issued.encrypt(serve()).flag("--tls-ticket-keys", keys.path()).start().await.unwrap()
}

/// Returns the number of full and of resumed handshakes of a node.
async fn handshakes(node: &Tailwater) -> (f64, f64) {
    let metrics = node.metrics().await.unwrap();
    let count = |kind: &str| {
        let name = format!("tailwater_tls_handshakes_total{{kind=\"{kind}\"}}");
        metric(&metrics, &name).unwrap()
    };
    (count("full"), count("resumed"))
}

async fn replaced(node: &Tailwater, times: usize) {
    let holds = async || node.log().matches("ticket keys replaced").count() == times;
    until("the keys are replaced", holds).await;
}

#[tokio::test]
async fn a_client_whose_node_was_killed_resumes_at_another() {
    let issued = Issued::new();
    let keys = KeyFile::with(&lines(&KEYS[..1]));
    for version in [&TLS12, &TLS13] {
        let client = Client::trusting(&issued, version);
        let mut first = node(&issued, &keys).await;
        let second = node(&issued, &keys).await;
        assert_eq!(client.subscribe(first.addr()).await, Full);
        first.kill_nine().unwrap();
        assert_eq!(client.subscribe(second.addr()).await, Resumed, "{version:?}");
        assert_eq!(handshakes(&second).await, (0.0, 1.0));
        // The client has new tickets from that handshake.
        assert_eq!(client.subscribe(second.addr()).await, Resumed);
    }
}

#[tokio::test]
async fn a_connection_attempt_that_a_dying_node_cut_off_leaves_a_ticket_for_the_next_attempt() {
    let issued = Issued::new();
    let keys = KeyFile::with(&lines(&KEYS[..1]));
    let (first, second) = (node(&issued, &keys).await, node(&issued, &keys).await);
    let client = Client::trusting(&issued, &TLS13);
    assert_eq!(client.subscribe(first.addr()).await, Full);
    // Acts like a load balancer that accepts a connection and finds its server gone.
    let dying = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(dying.local_addr().unwrap()).await.unwrap();
    drop(dying.accept().await.unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let cut = TlsConnector::from(Arc::clone(&client.0)).connect(name, stream).await;
    assert!(cut.is_err());
    assert_eq!(client.subscribe(second.addr()).await, Resumed);
}

#[tokio::test]
async fn clients_resume_through_a_rotation_of_the_keys() {
    let issued = Issued::new();
    let keys = KeyFile::with(&lines(&KEYS[..1]));
    let (early, late) = (node(&issued, &keys).await, node(&issued, &keys).await);
    let [of_old, of_new] = [(); 2].map(|()| Client::trusting(&issued, &TLS13));
    assert_eq!(of_old.subscribe(early.addr()).await, Full);

    // All nodes read the next key before any node encrypts with it.
    keys.replace("announced", &lines(&[KEYS[0], KEYS[1]]));
    replaced(&early, 1).await;
    replaced(&late, 1).await;
    keys.replace("rotated", &lines(&[KEYS[1], KEYS[0]]));
    replaced(&early, 2).await;
    assert_eq!(of_new.subscribe(early.addr()).await, Full);
    assert_eq!(of_new.subscribe(late.addr()).await, Resumed);
    assert_eq!(of_old.subscribe(late.addr()).await, Resumed);

    keys.replace("dropped", &lines(&KEYS[2..]));
    replaced(&early, 3).await;
    assert_eq!(of_new.subscribe(early.addr()).await, Full, "its key is gone");
    assert!(KEYS.iter().all(|key| !early.log().contains(key)), "{}", early.log());
}

#[tokio::test]
async fn a_ticket_of_another_key_costs_a_full_handshake_and_nothing_else() {
    let issued = Issued::new();
    let [ours, theirs] = [0, 1].map(|at| KeyFile::with(&lines(&[KEYS[at]])));
    let (first, second) = (node(&issued, &ours).await, node(&issued, &theirs).await);
    for version in [&TLS12, &TLS13] {
        let client = Client::trusting(&issued, version);
        assert_eq!(client.subscribe(first.addr()).await, Full);
        assert_eq!(client.subscribe(second.addr()).await, Full);
    }
    assert_eq!(handshakes(&second).await, (2.0, 0.0));
    let metrics = second.metrics().await.unwrap();
    assert_eq!(metric(&metrics, "tailwater_tls_handshakes_failed_total"), Some(0.0));
}

#[tokio::test]
async fn a_suite_with_sha_256_is_chosen_and_a_client_without_one_is_served() {
    let issued = Issued::new();
    let node = issued.encrypt(serve()).start().await.unwrap();
    let client = Client::trusting(&issued, &TLS13);
    // rustls' clients prefer AES-256 with SHA-384.
    let (_, suite) = client.session(node.addr()).await;
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
    let suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
    let client = Client::offering(suites, &issued, &TLS13);
    let (_, suite) = client.session(node.addr()).await;
    assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);
}

#[tokio::test]
async fn without_shared_keys_a_client_resumes_at_its_own_node_only() {
    let issued = Issued::new();
    let start = async || issued.encrypt(serve()).start().await.unwrap();
    let (first, second) = (start().await, start().await);
    for version in [&TLS12, &TLS13] {
        let client = Client::trusting(&issued, version);
        assert_eq!(client.subscribe(first.addr()).await, Full);
        assert_eq!(client.subscribe(first.addr()).await, Resumed);
        assert_eq!(client.subscribe(second.addr()).await, Full);
    }
}

#[tokio::test]
async fn a_bad_file_is_logged_and_the_last_good_keys_are_kept() {
    let issued = Issued::new();
    let keys = KeyFile::with(&lines(&KEYS[..1]));
    let node = node(&issued, &keys).await;
    let client = Client::trusting(&issued, &TLS13);
    assert_eq!(client.subscribe(node.addr()).await, Full);
    keys.replace("bad", &format!("{}\n{}\n", KEYS[0], &KEYS[1][..40]));
    until("it is logged", async || node.log().contains("ticket keys not replaced")).await;
    let log = node.log();
    assert!(log.contains("line 2") && log.contains(&keys.path()), "{log}");
    assert!(!log.contains(&KEYS[0][..9]) && !log.contains(&KEYS[1][..9]), "{log}");
    assert_eq!(client.subscribe(node.addr()).await, Resumed);
}

#[tokio::test]
async fn a_file_without_keys_is_refused_at_the_start() {
    let issued = Issued::new();
    let (crt, key) = (issued.file("tls.crt"), issued.file("tls.key"));
    let check = async |keys: &str| {
        tailwater(&["check", "--tls-cert", &crt, "--tls-key", &key, "--tls-ticket-keys", keys])
            .await
    };
    let good = KeyFile::with(&lines(&KEYS));
    let found = check(&good.path()).await.success().stdout;
    assert!(found.contains("ticket keys: 3"), "{found}");
    let bad = KeyFile::with("# none\n");
    check(&bad.path()).await.failure(&["--tls-ticket-keys", &bad.path(), "1 to 8"]);
    let missing = issued.file("missing");
    check(&missing).await.failure(&["--tls-ticket-keys", &missing, "No such file"]);

    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let keys = ["--tls-ticket-keys", &good.path()];
    let args = [&["serve"], &ports[..], &keys].concat();
    tailwater(&args).await.failure(&["--tls-ticket-keys", &good.path(), "needs --tls-cert"]);
    let bad = bad.path();
    let tls = ["--tls-cert", &crt, "--tls-key", &key, "--tls-ticket-keys", &bad];
    let args = [&["serve"], &ports[..], &tls].concat();
    tailwater(&args).await.failure(&["--tls-ticket-keys", &bad, "1 to 8"]);
}
