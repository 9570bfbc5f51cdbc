use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{EventSource, OnRefusal, Signal};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// Answers the connections with these bodies, one each, and returns the requests.
async fn serve(answers: Vec<String>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.expect("a request");
            requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
        requests
    });
    (addr, server)
}

#[tokio::test]
async fn client_comes_back_with_its_last_id_and_stops_at_204() {
    let (addr, server) = serve(vec![
        format!("{STREAM}retry: 10\ndata: a\nid: 1-1\n\ndata: half an eve"),
        format!("{STREAM}data: b\nid: 1-2\n\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ])
    .await;
    let mut client = EventSource::new(addr, "/v1/events?topic=t");
    let mut seen = Vec::new();
    while let Some(event) = client.next_event().await {
        seen.push(event.data);
    }
    assert_eq!(seen, ["a", "b"]);
    assert_eq!((client.stats().reconnects, client.stats().lost), (1, 2));
    let requests = server.await.expect("served");
    assert!(!requests[0].contains("Last-Event-ID"));
    assert!(requests[1].contains("Last-Event-ID: 1-1\r\n"));
    assert!(requests[2].contains("Last-Event-ID: 1-2\r\n"));
}

#[tokio::test]
async fn refusal_stops_a_browser_and_is_counted() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let (addr, _server) = serve(vec![refusal.to_owned()]).await;
    let mut client = EventSource::new(addr, "/");
    assert!(matches!(client.next().await, Signal::Refused { status: 503, .. }));
    assert!(matches!(client.next().await, Signal::Stopped));
    assert_eq!(client.stats().refused, 1);
}

#[tokio::test]
async fn refusal_may_be_survived_on_request() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let (addr, _server) = serve(vec![
        format!("{STREAM}retry: 1\ndata: a\n\n"),
        refusal.to_owned(),
        format!("{STREAM}data: b\n\n"),
    ])
    .await;
    let mut client = EventSource::new(addr, "/").on_refusal(OnRefusal::Retry);
    for expected in ["a", "b"] {
        let event = client.next_event().await.expect("an event");
        assert_eq!(event.data, expected);
    }
    assert_eq!(client.stats().refused, 1);
}

#[tokio::test]
async fn silent_stream_is_dropped_and_reopened() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut held, _) = listener.accept().await.expect("a client");
        let hello = format!("{STREAM}retry: 1\ndata: a\n\n");
        held.write_all(hello.as_bytes()).await.expect("written");
        listener.accept().await.expect("the client again");
    });
    let silence = std::time::Duration::from_millis(20);
    let mut client = EventSource::new(addr, "/").silence_max(silence);
    let event = client.next_event().await.expect("an event");
    assert_eq!(event.data, "a");
    assert!(matches!(client.next().await, Signal::Lost));
    tokio::spawn(async move { client.next().await });
    server.await.expect("reconnected");
}

#[tokio::test]
async fn cursor_may_be_replaced_between_two_streams() {
    let (addr, server) = serve(vec![
        format!("{STREAM}retry: 1\ndata: a\nid: 1-9\n\n"),
        format!("{STREAM}data: b\nid: 1-2\n\n"),
    ])
    .await;
    let mut client = EventSource::new(addr, "/");
    loop {
        match client.next().await {
            Signal::Lost if client.last_event_id() == "1-9" => client.set_last_event_id("1-1"),
            Signal::Event(event) if event.data == "b" => break,
            _ => {}
        }
    }
    let requests = server.await.expect("served");
    assert!(requests[1].contains("Last-Event-ID: 1-1\r\n"));
}
