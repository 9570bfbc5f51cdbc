use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use reqwest::Certificate;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use super::*;

/// The limit of a fetch in these tests.
const BRIEF: Duration = Duration::from_millis(300);

fn https() -> Https {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Https::build(Client::builder(), BRIEF).unwrap()
}

async fn server() -> String {
    let answer = |text: String| async move {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, "public, max-age=600".parse().unwrap());
        (headers, text)
    };
    let endless = |bytes: usize| {
        let chunks = stream::unfold((), move |()| async move {
            sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, Infallible>(Bytes::from(vec![b' '; bytes])), ()))
        });
        Body::from_stream(chunks)
    };
    let routes = Router::new()
        .route("/keys", get(move || answer("{}".to_owned())))
        .route("/most", get(move || answer("x".repeat(access::KEYS_BYTES_MAX))))
        .route("/large", get(move || answer("x".repeat(access::KEYS_BYTES_MAX + 1))))
        .route("/endless", get(move || async move { endless(access::KEYS_BYTES_MAX / 2) }))
        .route("/drips", get(move || async move { endless(1) }))
        .route("/slow", get(|| async { sleep(Duration::from_secs(60)).await }))
        .route("/binary", get(|| async { Bytes::from_static(b"\xff\xfe") }))
        .route("/moved", get(|| async { Redirect::temporary("/keys") }))
        .route("/gone", get(|| async { StatusCode::NOT_FOUND }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_set_comes_whole_from_where_it_was_asked_or_not_at_all() {
    let (server, https) = (server().await, https());
    let fetch = async |path: &str| https.fetch(&format!("{server}{path}")).await;
    let set = fetch("/keys").await.unwrap();
    assert_eq!(set, ("{}".to_owned(), Some(Duration::from_secs(600))));
    assert_eq!(fetch("/most").await.unwrap().0.len(), access::KEYS_BYTES_MAX);
    for (path, part) in [
        ("/large", "65536 bytes"),
        ("/endless", "65536 bytes"),
        ("/binary", "UTF-8"),
        ("/moved", "redirects"),
        ("/gone", "404"),
    ] {
        let error = fetch(path).await.unwrap_err();
        assert!(error.contains(part), "{path}: {error}");
    }
    assert!(https.fetch("http://127.0.0.1:1/").await.is_err());
}

#[tokio::test]
async fn a_server_that_is_slow_or_drips_is_left_in_time() {
    let (server, https) = (server().await, https());
    for path in ["/slow", "/drips"] {
        let begin = Instant::now();
        let error = https.fetch(&format!("{server}{path}")).await.unwrap_err();
        assert!(begin.elapsed() >= BRIEF, "{path}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_set_over_tls_comes_from_a_server_whose_certificate_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let words = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl")
        .args(words.split_whitespace())
        .args(["-keyout".into(), file("key"), "-out".into(), file("crt")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let https = https();
    let certificate = CertificateDer::from_pem_file(file("crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/keys", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 1024];
            let _read = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            let _written = stream.write_all(answer).await;
            let _shut = stream.shutdown().await;
        }
    });
    check_url(&url).unwrap();
    let error = https.fetch(&url).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let root = Certificate::from_pem(&std::fs::read(file("crt")).unwrap()).unwrap();
    let trusting = Client::builder().tls_certs_merge([root]);
    let trusting = Https::build(trusting, FETCH_MAX).unwrap();
    assert_eq!(trusting.fetch(&url).await.unwrap().0, "{}");
}

#[test]
fn a_key_set_comes_over_tls_or_from_this_machine() {
    for good in
        ["https://a.example/k", "http://127.0.0.1:8/k", "http://[::1]/k", "http://localhost/k"]
    {
        check_url(good).unwrap();
    }
    for bad in [
        "http://a.example/k",
        "http://10.0.0.1/k",
        "http://localhost.example/k",
        "ftp://a",
        "file:///etc/keys",
        "a.example",
        "",
    ] {
        assert!(check_url(bad).is_err(), "{bad}");
    }
    let error = check_url("https://user:hunter2@a.example/").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn the_time_to_keep_a_set_is_read_as_servers_write_it() {
    let seconds = |value: &str| max_age(value).map(|time| time.as_secs());
    for (value, wanted) in [
        ("max-age=600", Some(600)),
        ("public, Max-Age=\"600\", must-revalidate", Some(600)),
        ("s-maxage=5, max-age=7", Some(7)),
        ("no-store", None),
        ("max-age=soon", None),
        ("max-age=-1", None),
    ] {
        assert_eq!(seconds(value), wanted, "{value}");
    }
}
