//! HTTP/1.1 and HTTP/2 over TLS, certificates that change, and unusable certificate files.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use futures_util::StreamExt as _;
use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use reqwest::{Certificate, Client, Version};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cli::tailwater;
use crate::support::{PATIENCE, TAILWATER, metric, serve, until};

/// A directory with an authority of its own (`ca.crt`), a certificate for `localhost`
/// (`tls.crt`) and its key (`tls.key`).
pub(crate) struct Issued(TempDir);

impl Issued {
    pub(crate) fn new() -> Issued {
        let dir = TempDir::new().unwrap();
        let script = "\
            ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n\
            openssl req -x509 $ec -days 9 -subj /CN=ours -keyout ca.key -out ca.crt\n\
            openssl req $ec -subj /CN=localhost -keyout tls.key -out tls.csr\n\
            printf 'subjectAltName=DNS:localhost' > names\n\
            openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 \
                -extfile names -out tls.crt\n";
        let made =
            Command::new("sh").args(["-ec", script]).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Issued(dir)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The time at which the certificate expires, in seconds since 1970, read by openssl.
    fn not_after(&self) -> f64 {
        let script = "date -d \"$(openssl x509 -in tls.crt -noout -enddate | cut -d= -f2)\" +%s";
        let said = Command::new("sh").args(["-ec", script]).current_dir(self.0.path()).output();
        String::from_utf8(said.unwrap().stdout).unwrap().trim().parse().unwrap()
    }

    /// A client that trusts this authority and no other.
    fn client(&self, version: Version) -> Client {
        // Another test may have installed the provider already.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let ca = Certificate::from_pem(&fs::read(self.file("ca.crt")).unwrap()).unwrap();
        let builder = Client::builder().tls_certs_only([ca]);
        let builder = if version == Version::HTTP_11 { builder.http1_only() } else { builder };
        builder.build().unwrap()
    }

    /// Makes the node serve over TLS.
    pub(crate) fn encrypt(&self, node: TailwaterBuilder) -> TailwaterBuilder {
        node.flag("--tls-cert", self.file("tls.crt")).flag("--tls-key", self.file("tls.key"))
    }

    async fn serve(&self) -> Tailwater {
        self.encrypt(serve()).start().await.unwrap()
    }
}

fn url(node: SocketAddr, query: &str) -> String {
    format!("https://localhost:{}/v1/events?{query}", node.port())
}

/// Publishes over TLS. Returns false if there was no handshake, and panics at any other failure.
async fn publish(client: &Client, to: SocketAddr, data: &'static str) -> bool {
    match client.post(url(to, "topic=t")).body(data).send().await {
        Ok(answer) => {
            assert_eq!(answer.status(), 200);
            true
        }
        Err(error) => {
            assert!(error.is_connect(), "{error:?}");
            false
        }
    }
}

async fn events_arrive_over(version: Version) {
    let issued = Issued::new();
    let node = issued.serve().await;
    let client = issued.client(version);
    let answer = client.get(url(node.addr(), "topic=t")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    let mut body = answer.bytes_stream();
    let mut read = String::new();
    while !read.contains("tailwater.ready") {
        read.push_str(str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(publish(&client, node.addr(), "encrypted").await);
    while !read.contains("data: encrypted\n") {
        read.push_str(str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    let metrics = node.metrics().await.unwrap();
    assert_eq!(metric(&metrics, "tailwater_tls_handshakes_failed_total"), Some(0.0));
    let not_after = metric(&metrics, "tailwater_tls_certificate_not_after_seconds");
    assert_eq!(not_after, Some(issued.not_after()));
}

#[tokio::test]
async fn events_arrive_over_http_1_and_tls() {
    events_arrive_over(Version::HTTP_11).await;
}

#[tokio::test]
async fn alpn_chooses_http_2_and_events_arrive_over_tls() {
    events_arrive_over(Version::HTTP_2).await;
}

/// An event stream over HTTP/1.1 and TLS. The test sees how the TLS session ends.
struct Stream {
    stream: TlsStream<TcpStream>,
    read: String,
}

impl Stream {
    async fn open(issued: &Issued, node: SocketAddr, query: &str, headers: &str) -> Stream {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(issued.file("ca.crt")).unwrap() {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        // Without ALPN, like many clients of HTTP/1.1.
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let socket = TcpStream::connect(node).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
        let head = format!("GET /v1/events?{query} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        Stream { stream, read: String::new() }
    }

    /// Reads until `text` has arrived, and returns everything read so far.
    async fn until(&mut self, text: &str) -> &str {
        let mut searched = 0;
        while !self.read[searched..].contains(text) {
            searched = self.read.len().saturating_sub(text.len());
            let mut bytes = vec![0; 64 * 1024];
            let count = timeout(PATIENCE, self.stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(count > 0, "the end before {text:?}: {}", self.read);
            self.read.push_str(str::from_utf8(&bytes[..count]).unwrap());
        }
        &self.read
    }

    /// Reads to the end. Fails if the node closes the connection without a `close_notify`.
    async fn rest(&mut self) -> &str {
        let rest = self.stream.read_to_string(&mut self.read);
        timeout(PATIENCE, rest).await.unwrap().unwrap();
        &self.read
    }
}

#[tokio::test]
async fn a_client_that_reconnects_over_tls_gets_the_events_it_missed() {
    let issued = Issued::new();
    let node = issued.serve().await;
    let client = issued.client(Version::HTTP_11);
    for data in ["one", "two"] {
        assert!(publish(&client, node.addr(), data).await);
    }
    let mut stream = Stream::open(&issued, node.addr(), "topic=t&from=earliest", "").await;
    let first = stream.until("data: two\n").await;
    let at_one = first.split("data: one\nid: ").nth(1).unwrap().lines().next().unwrap();
    let cursor = format!("last-event-id: {at_one}\r\n");
    let mut again = Stream::open(&issued, node.addr(), "topic=t", &cursor).await;
    let read = again.until("data: two\n").await;
    assert!(read.contains("\"outcome\":\"exact\"") && !read.contains("data: one\n"), "{read}");
    assert!(
        read.starts_with("HTTP/1.1 200 OK\r\n") && read.contains("connection: close"),
        "{read}"
    );
}

#[tokio::test]
async fn a_stream_over_tls_whose_topic_ends_is_closed_in_order() {
    let issued = Issued::new();
    let node = issued.serve().await;
    let client = issued.client(Version::HTTP_11);
    let mut stream = Stream::open(&issued, node.addr(), "topic=t", "").await;
    stream.until("tailwater.ready").await;
    let answer = client.post(url(node.addr(), "topic=t&end=true")).body("last").send().await;
    assert_eq!(answer.unwrap().status(), 200);
    let read = stream.rest().await;
    assert!(read.contains("data: last\n") && read.contains("tailwater.end"), "{read}");
    assert!(read.ends_with("\r\n0\r\n\r\n"), "{read}");
}

#[tokio::test]
async fn a_drain_ends_a_stream_over_tls_with_a_close_notify() {
    let issued = Issued::new();
    let mut node = issued.serve().await;
    let mut stream = Stream::open(&issued, node.addr(), "topic=t", "").await;
    stream.until("tailwater.ready").await;
    node.begin_termination().unwrap();
    let read = stream.rest().await;
    assert!(read.contains("\"reason\":\"drain\"") && read.ends_with("0\r\n\r\n"), "{read}");
    assert_eq!(node.wait_exit().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_client_that_leaves_an_idle_stream_over_tls_is_noticed() {
    let issued = Issued::new();
    let node = issued.encrypt(serve()).flag("--heartbeat", "60s").start().await.unwrap();
    let open = async || metric(&node.metrics().await.unwrap(), "tailwater_connections").unwrap();
    // One client sends a `close_notify`, the other does not.
    for says_goodbye in [true, false] {
        let mut stream = Stream::open(&issued, node.addr(), "topic=t", "").await;
        stream.until("tailwater.ready").await;
        assert_eq!(open().await, 1.0);
        if says_goodbye {
            stream.stream.shutdown().await.unwrap();
        }
        drop(stream);
        until("it is noticed", async || open().await == 0.0).await;
    }
}

#[tokio::test]
async fn a_reader_that_stalls_over_tls_takes_little_memory_and_then_gets_all_events_in_order() {
    const EVENTS: u32 = 20_000;
    const EVENT_BYTES: usize = 1024;
    /// Largest growth of the node: its window and heap, but no copy of the events for the reader.
    const TAKEN_MAX: u64 = 8 << 20;
    let issued = Issued::new();
    let node = issued.encrypt(serve()).flag("--history-events", "30000").start().await.unwrap();
    let client = issued.client(Version::HTTP_11);
    let mut stalled = Stream::open(&issued, node.addr(), "topic=t", "").await;
    stalled.until("tailwater.ready").await;
    for batch in 0..EVENTS / 1000 {
        let line = |n| format!("{{\"data\":\"{n:<EVENT_BYTES$}\"}}\n");
        let lines: String = (batch * 1000..(batch + 1) * 1000).map(line).collect();
        let batch = client.post(url(node.addr(), "topic=t"));
        let batch = batch.header("content-type", "application/x-ndjson").body(lines);
        let receipts = batch.send().await.unwrap().text().await.unwrap();
        assert_eq!(receipts.lines().count(), 1000);
    }
    // The sockets hold a small part of the 20 MB.
    let delivered = async || {
        let metrics = node.metrics().await.unwrap();
        metric(&metrics, "tailwater_events_delivered_total").unwrap() as u64
    };
    let taken = delivered().await * EVENT_BYTES as u64;
    assert!(taken < TAKEN_MAX, "{taken} bytes were taken for a reader that does not read");
    stalled.until(&format!("data: {} ", EVENTS - 1)).await;
    let numbers = stalled
        .read
        .split("data: ")
        .filter_map(|data| data.split_whitespace().next()?.parse::<u32>().ok());
    assert!(numbers.eq(0..EVENTS), "every event once and in order");
}

#[tokio::test]
async fn a_node_drains_its_streams_over_tls_before_it_stops() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let issued = Issued::new();
        let mut node = issued.serve().await;
        let client = issued.client(version);
        let stream = client.get(url(node.addr(), "topic=t")).send().await.unwrap();
        node.begin_termination().unwrap();
        let text = stream.text().await.unwrap();
        assert!(text.contains("tailwater.reconnect") && text.ends_with("\n\n"), "{text}");
        assert_eq!(node.wait_exit().await.unwrap().code(), Some(0));
        assert!(node.log().contains("left=0"), "{}", node.log());
    }
}

#[tokio::test]
async fn ingest_accepts_events_over_tls() {
    let issued = Issued::new();
    let redis = Redis::start().await.unwrap();
    let ingest = Tailwater::ingest(TAILWATER)
        .redis(&redis)
        .env("TAILWATER_TLS_CERT", issued.file("tls.crt"))
        .env("TAILWATER_TLS_KEY", issued.file("tls.key"));
    let ingest = ingest.start().await.unwrap();
    assert!(publish(&issued.client(Version::HTTP_2), ingest.addr(), "x").await);
}

/// Makes a symbolic link point to another directory, atomically, as Kubernetes updates secrets.
pub(crate) fn swap(link: &Path, to: &Path) {
    let new = link.with_extension("new");
    symlink(to, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_used_and_a_bad_one_is_not() {
    let (old, new) = (Issued::new(), Issued::new());
    let place = TempDir::new().unwrap();
    let link = place.path().join("current");
    swap(&link, old.0.path());
    let file = |name| link.join(name).display().to_string();
    let node = serve().flag("--tls-cert", file("tls.crt")).flag("--tls-key", file("tls.key"));
    let node = node.start().await.unwrap();
    // A new client, because a client with a session resumes it and checks no certificate.
    let is_trusted_by =
        async |issued: &Issued| publish(&issued.client(Version::HTTP_11), node.addr(), "x").await;
    assert!(is_trusted_by(&old).await && !is_trusted_by(&new).await);

    swap(&link, new.0.path());
    until("the new certificate is served", async || is_trusted_by(&new).await).await;
    assert!(!is_trusted_by(&old).await);

    fs::write(new.file("tls.key"), fs::read(old.file("tls.key")).unwrap()).unwrap();
    until("it is logged", async || node.log().contains("certificate not replaced")).await;
    assert!(node.log().contains("is not the key of --tls-cert"), "{}", node.log());
    assert!(is_trusted_by(&new).await, "the last good one is kept");
    let metrics = node.metrics().await.unwrap();
    let not_after = metric(&metrics, "tailwater_tls_certificate_not_after_seconds");
    assert_eq!(not_after, Some(new.not_after()));
}

#[tokio::test]
async fn only_a_client_that_sends_something_wrong_counts_as_a_failed_handshake() {
    let issued = Issued::new();
    let node = issued.serve().await;
    let failed = async || {
        let metrics = node.metrics().await.unwrap();
        metric(&metrics, "tailwater_tls_handshakes_failed_total").unwrap()
    };
    // Like a load balancer that checks the port.
    drop(TcpStream::connect(node.addr()).await.unwrap());
    let plain = loadtest::client::http::get(node.addr(), "/v1/events?topic=t").await;
    assert!(plain.is_err(), "{plain:?}");
    until("it is counted", async || failed().await > 0.0).await;
    assert_eq!(failed().await, 1.0);
}

#[tokio::test]
async fn a_connection_without_a_handshake_is_closed() {
    let issued = Issued::new();
    let node = issued.serve().await;
    let mut silent = TcpStream::connect(node.addr()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0, "it is closed");
}

#[tokio::test]
async fn unusable_certificate_files_are_named() {
    let (ours, theirs) = (Issued::new(), Issued::new());
    let (crt, key, missing) = (ours.file("tls.crt"), ours.file("tls.key"), ours.file("missing"));
    let start = async |cert: Option<&str>, key: Option<&str>| {
        let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let cert = cert.map(|file| ["--tls-cert", file]);
        let key = key.map(|file| ["--tls-key", file]);
        let flags = cert.iter().chain(&key).flatten().copied();
        let args: Vec<&str> = ["serve"].into_iter().chain(ports).chain(flags).collect();
        tailwater(&args).await
    };
    start(Some(&crt), None).await.failure(&["--tls-cert", &crt, "needs --tls-key"]);
    start(None, Some(&key)).await.failure(&["--tls-key", &key, "needs --tls-cert"]);
    let wrong = start(Some(&missing), Some(&key)).await;
    wrong.failure(&["--tls-cert", &missing, "No such file"]);
    let wrong = start(Some(&key), Some(&key)).await;
    wrong.failure(&["--tls-cert", &key, "holds no certificate as PEM"]);
    let wrong = start(Some(&crt), Some(&crt)).await;
    wrong.failure(&["--tls-key", &crt, "holds no private key as PEM"]);
    let other = theirs.file("tls.key");
    let wrong = start(Some(&crt), Some(&other)).await;
    wrong.failure(&["--tls-key", &other, "is not the key of", &crt]);
    let fine = tailwater(&["check", "--tls-cert", &crt, "--tls-key", &key]).await.success();
    assert!(fine.stdout.contains("certificate until 20"), "{}", fine.stdout);
}
