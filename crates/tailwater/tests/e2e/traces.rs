//! Traces, as a receiver of OTLP over HTTP gets them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use loadtest::http;

use crate::support::{PATIENCE, serve};

const TRACE_ID: [u8; 16] = *b"tailwater traces";

#[tokio::test]
async fn a_publish_is_a_span_of_the_publishers_trace() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", receiver.local_addr().unwrap());
    let requests = receive(receiver);
    let mut node = serve().flag("--otlp-endpoint", endpoint).start().await.unwrap();

    let hex: String = TRACE_ID.iter().map(|byte| format!("{byte:02x}")).collect();
    let parent = format!("00-{hex}-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str())];
    let mut http = http::Client::new(node.addr());
    let response = http.post("/v1/events?topic=t", &headers, "x").await.unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    // What has not been sent by then is sent at the end.
    assert!(node.terminate().await.unwrap().success());

    let request = loop {
        let request = requests.recv_timeout(PATIENCE).expect("the span arrives");
        if holds(&request, &TRACE_ID) {
            break request;
        }
    };
    assert!(request.starts_with(b"POST /v1/traces "), "{}", String::from_utf8_lossy(&request));
    for part in [&b"publish"[..], b"tailwater", b"service.instance.id"] {
        assert!(holds(&request, part), "{:?}", String::from_utf8_lossy(part));
    }
}

/// Answers every request with 200 and passes on its bytes.
fn receive(listener: TcpListener) -> Receiver<Vec<u8>> {
    let (sender, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if sender.send(answer(stream)).is_err() {
                return;
            }
        }
    });
    requests
}

fn answer(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend_from_slice(&chunk[..count]),
        }
    }
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(head).unwrap();
    request
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
