//! HTTP by TLS: both versions of HTTP, certificates that change, and files that are no use.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use futures_util::StreamExt as _;
use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use reqwest::{Certificate, Client, Version};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::cli::tailwater;
use crate::support::{TAILWATER, metric, serve, until};

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

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// When the certificate expires, in seconds since 1970, as openssl sees it.
    fn not_after(&self) -> f64 {
        let script = "date -d \"$(openssl x509 -in tls.crt -noout -enddate | cut -d= -f2)\" +%s";
        let said = Command::new("sh").args(["-ec", script]).current_dir(self.0.path()).output();
        String::from_utf8(said.unwrap().stdout).unwrap().trim().parse().unwrap()
    }

    /// A client that trusts this authority and no other.
    fn client(&self, version: Version) -> Client {
        // Another test may have been first.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let ca = Certificate::from_pem(&fs::read(self.file("ca.crt")).unwrap()).unwrap();
        let builder = Client::builder().tls_certs_only([ca]);
        let builder = if version == Version::HTTP_11 { builder.http1_only() } else { builder };
        builder.build().unwrap()
    }

    /// A node that serves by TLS.
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

/// Publishes by TLS; says whether there was a handshake, and insists that the rest goes well.
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

async fn events_come_by(version: Version) {
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
async fn events_come_over_http_1_by_tls() {
    events_come_by(Version::HTTP_11).await;
}

#[tokio::test]
async fn events_come_over_http_2_by_tls_as_alpn_chooses() {
    events_come_by(Version::HTTP_2).await;
}

#[tokio::test]
async fn streams_by_tls_are_handed_away_before_a_node_stops() {
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
async fn ingest_takes_events_by_tls() {
    let issued = Issued::new();
    let redis = Redis::start().await.unwrap();
    let ingest = Tailwater::ingest(TAILWATER)
        .redis(&redis)
        .env("TAILWATER_TLS_CERT", issued.file("tls.crt"))
        .env("TAILWATER_TLS_KEY", issued.file("tls.key"));
    let ingest = ingest.start().await.unwrap();
    assert!(publish(&issued.client(Version::HTTP_2), ingest.addr(), "x").await);
}

/// Puts a directory in the place that a link leads to, at once, as Kubernetes swaps secrets.
fn swap(link: &Path, to: &Path) {
    let new = link.with_extension("new");
    symlink(to, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let (old, new) = (Issued::new(), Issued::new());
    let place = TempDir::new().unwrap();
    let link = place.path().join("current");
    swap(&link, old.0.path());
    let file = |name| link.join(name).display().to_string();
    let node = serve().flag("--tls-cert", file("tls.crt")).flag("--tls-key", file("tls.key"));
    let node = node.start().await.unwrap();
    // A client that came before would resume its session and ask for no certificate.
    let is_trusted_by =
        async |issued: &Issued| publish(&issued.client(Version::HTTP_11), node.addr(), "x").await;
    assert!(is_trusted_by(&old).await && !is_trusted_by(&new).await);

    swap(&link, new.0.path());
    until("the new certificate is served", async || is_trusted_by(&new).await).await;
    assert!(!is_trusted_by(&old).await);

    fs::write(new.file("tls.key"), fs::read(old.file("tls.key")).unwrap()).unwrap();
    until("it is told", async || node.log().contains("certificate not replaced")).await;
    assert!(node.log().contains("is not the key of --tls-cert"), "{}", node.log());
    assert!(is_trusted_by(&new).await, "the last good one is kept");
    let metrics = node.metrics().await.unwrap();
    let not_after = metric(&metrics, "tailwater_tls_certificate_not_after_seconds");
    assert_eq!(not_after, Some(new.not_after()));
}

#[tokio::test]
async fn only_a_client_that_says_something_wrong_counts_as_a_failed_handshake() {
    let issued = Issued::new();
    let node = issued.serve().await;
    let failed = async || {
        let metrics = node.metrics().await.unwrap();
        metric(&metrics, "tailwater_tls_handshakes_failed_total").unwrap()
    };
    // As a load balancer looks whether the port is open.
    drop(TcpStream::connect(node.addr()).await.unwrap());
    let plain = loadtest::client::http::get(node.addr(), "/v1/events?topic=t").await;
    assert!(plain.is_err(), "{plain:?}");
    until("it is counted", async || failed().await > 0.0).await;
    assert_eq!(failed().await, 1.0);
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_given_up() {
    let issued = Issued::new();
    let node = issued.serve().await;
    let mut silent = TcpStream::connect(node.addr()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0, "it is closed");
}

#[tokio::test]
async fn files_that_are_no_use_are_named() {
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
