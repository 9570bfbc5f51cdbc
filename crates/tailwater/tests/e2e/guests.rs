//! Connections that say nothing, too many of them, and clients that a load balancer names.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::machine::{Tailwater, TailwaterBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{PATIENCE, metric, publish, serve, status, until};
use crate::tls::Issued;

/// A node that trusts no proxy, so that addresses of this machine count like any other.
fn strict() -> TailwaterBuilder {
    serve().flag("--trusted-proxies", "none")
}

/// Connects from an address of this machine.
async fn connect_from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Returns true if the node has closed the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_secs(2), stream.read(&mut [0; 1])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

async fn used(node: &Tailwater, limit: &str) -> f64 {
    metric(&node.metrics().await.unwrap(), &format!("tailwater_limit_used{{limit=\"{limit}\"}}"))
        .expect("the limit is known")
}

#[tokio::test]
async fn one_address_takes_half_of_the_connections_and_others_are_served() {
    let node = strict().flag("--max-open", "20").start().await.unwrap();
    let mut greedy = Vec::new();
    for _ in 0..15 {
        let mut stream = connect_from([127, 0, 0, 66], node.addr()).await;
        // A connection is accepted when its first bytes have come.
        stream.write_all(b"G").await.unwrap();
        greedy.push(stream);
    }
    until("one address has its share", async || used(&node, "connections").await >= 10.0).await;
    let mut closed = 0;
    for stream in &mut greedy {
        closed += usize::from(is_closed(stream).await);
    }
    assert_eq!(closed, 5);
    publish(node.addr(), "t", "others are served").await;
    assert_eq!(status(node.admin_addr(), "/livez").await, Some(200));
    drop(greedy);
    until("the places are free", async || used(&node, "connections").await < 10.0).await;
}

#[tokio::test]
async fn the_admin_port_answers_whatever_holds_the_other_one() {
    let node = strict().flag("--max-open", "4").flag("--address-share", "1").start().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream.write_all(b"G").await.unwrap();
        held.push(stream);
    }
    until("all places are taken", async || used(&node, "connections").await >= 4.0).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(node.admin_addr(), path).await, Some(200), "{path}");
    }
}

#[tokio::test]
async fn half_a_hello_takes_no_slot_of_a_handshake() {
    let issued = Issued::new();
    let node = strict()
        .flag("--tls-cert", issued.file("tls.crt"))
        .flag("--tls-key", issued.file("tls.key"))
        .start()
        .await
        .unwrap();
    let mut half = connect_from([127, 0, 0, 66], node.addr()).await;
    // The header of a record whose rest never comes.
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let failed = async || {
        let metrics = node.metrics().await.unwrap();
        metric(&metrics, "tailwater_tls_handshakes_failed_total").unwrap()
    };
    assert_eq!(used(&node, "handshakes").await, 0.0);
    until("the half hello is given up", async || failed().await >= 1.0).await;
    assert!(is_closed(&mut half).await);
}

/// Sends a PROXY header and a request, and returns the status line.
async fn proxied(node: &Tailwater, header: &[u8], request: &str) -> String {
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap();
    read.map_or_else(|_| "closed".to_owned(), |_| String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client_of_a_balancer() {
    let node = serve().arg("--proxy-protocol").flag("--max-open", "10").start().await;
    let node = node.unwrap();
    let get = "GET /console/console.css HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    assert_eq!(proxied(&node, line, get).await, "HTTP/1.1 200");
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v4 = [0x21, 0x11, 0, 12, 203, 0, 113, 7, 10, 0, 0, 1, 18, 103, 0, 80];
    assert_eq!(proxied(&node, &[&signature[..], &v4].concat(), get).await, "HTTP/1.1 200");
    // A health check of the balancer.
    assert_eq!(
        proxied(&node, &[&signature[..], &[0x20, 0, 0, 0]].concat(), get).await,
        "HTTP/1.1 200"
    );
    assert_eq!(proxied(&node, b"", get).await, "closed");
    // The client that the balancer names has its share, and the balancer has none.
    let mut held = Vec::new();
    for _ in 0..7 {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream.write_all(line).await.unwrap();
        held.push(stream);
    }
    until("the client has its share", async || used(&node, "connections").await >= 5.0).await;
    let other = b"PROXY TCP4 203.0.113.8 10.0.0.1 4711 80\r\n";
    assert_eq!(proxied(&node, other, get).await, "HTTP/1.1 200");
}
