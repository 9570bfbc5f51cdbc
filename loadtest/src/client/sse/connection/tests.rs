use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Connection, End};

/// Answers one request with these pieces, closes, and returns the request.
async fn serve(pieces: &'static [&'static str]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.expect("a request");
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.expect("written");
            tokio::task::yield_now().await;
        }
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (addr, server)
}

async fn data_of(connection: &mut Connection) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(event) = connection.next_event().await {
        all.push(event.data);
    }
    all
}

#[tokio::test]
async fn chunked_stream_is_read_to_its_end() {
    let (addr, server) = serve(&[
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:",
        "\r\n8\r\n a\n\nda\r\n\r\n",
    ])
    .await;
    let mut connection = Connection::open(addr, "/v1/events?topic=t", &[("Last-Event-ID", "1-1")])
        .await
        .expect("an answer");
    assert_eq!(connection.status(), 200);
    assert_eq!(connection.header("content-type"), Some("text/event-stream"));
    assert_eq!(data_of(&mut connection).await, ["a"]);
    assert_eq!(connection.end(), Some(End::Broken));
    assert_eq!(connection.last_event_id(), "1-1");
    let request = server.await.expect("served");
    assert!(request.starts_with("GET /v1/events?topic=t HTTP/1.1\r\n"));
    assert!(request.contains("Accept: text/event-stream\r\n"));
    assert!(request.contains("Last-Event-ID: 1-1\r\n"));
}

#[tokio::test]
async fn last_chunk_makes_the_end_complete() {
    let (addr, _server) = serve(&[
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n",
    ])
    .await;
    let mut connection = Connection::open(addr, "/", &[]).await.expect("an answer");
    assert_eq!(data_of(&mut connection).await, ["a"]);
    assert_eq!(connection.end(), Some(End::Complete));
}

#[tokio::test]
async fn body_without_framing_ends_with_the_connection() {
    let (addr, _server) = serve(&["HTTP/1.0 200 OK\r\n\r\ndata: a\n\ndata: b"]).await;
    let mut connection = Connection::open(addr, "/", &[]).await.expect("an answer");
    assert_eq!(data_of(&mut connection).await, ["a"]);
    assert_eq!(connection.end(), Some(End::Complete));
}

#[tokio::test]
async fn a_reconnect_passes_no_event_that_was_received_and_not_taken() {
    let (addr, _server) = serve(&[
        "HTTP/1.1 200 OK\r\n\r\ndata: a\nid: 1-1\n\ndata: b\nid: 1-2\n\ndata: c\nid: 1-3\n\n",
    ])
    .await;
    let mut connection = Connection::open(addr, "/", &[]).await.expect("an answer");
    for (data, id) in [("a", "1-1"), ("b", "1-2"), ("c", "1-3")] {
        let event = connection.next_event().await.expect("an event");
        assert_eq!((event.data.as_str(), connection.last_event_id()), (data, id));
    }
}
