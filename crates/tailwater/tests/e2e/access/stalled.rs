//! Readers that take nothing while their right ends: after its end nothing that was made later reaches them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::client::http;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Mint;
use super::mint::now;
use crate::support::serve;

/// Data of one event, in bytes: a few dozen fill the buffers of a socket.
const EVENT_BYTES: usize = 64 * 1024;
/// The seconds that a token lasts beyond its `exp`.
const LEEWAY: i64 = 30;
/// The seconds until a token ends here.
const LEFT: i64 = 7;

#[tokio::test]
async fn a_reader_that_stalls_gets_nothing_that_was_made_after_the_end_of_its_right() {
    let mint = Mint::new("one");
    let node = mint.close(serve()).start().await.unwrap();
    let address = node.addr();
    let short = mint.sign(&Mint::claims("user/ann", LEFT - LEEWAY));
    let end = now() + LEFT;

    let mut bare = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /v1/events?topic=user/ann HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {short}\r\n\r\n"
    );
    bare.write_all(head.as_bytes()).await.unwrap();

    let socket = TcpStream::connect(address).await.unwrap();
    let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{address}/v1/events?topic=user/ann"))
        .header("authorization", format!("Bearer {short}"))
        .body(Empty::new())
        .unwrap();
    let response = requests.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);

    // Events that say when they were made, until some seconds after the end.
    let bearer = format!("Bearer {}", mint.token("user/ann"));
    let headers = [("authorization", &*bearer)];
    let mut publisher = http::Client::new(address);
    while now() < end + 4 {
        let data = format!("made {} {}", now(), "x".repeat(EVENT_BYTES));
        let published = publisher.post("/v1/events?topic=user/ann", &headers, data).await.unwrap();
        assert_eq!(published.status, 200);
        sleep(Duration::from_millis(50)).await;
    }

    let mut taken = Vec::new();
    // A reset is an end, too.
    let _ended = tokio::time::timeout(Duration::from_secs(20), bare.read_to_end(&mut taken))
        .await
        .expect("the connection is closed");
    let text = String::from_utf8_lossy(&taken);
    let made: Vec<i64> = text
        .split("made ")
        .skip(1)
        .filter_map(|rest| rest.split(' ').next()?.parse().ok())
        .collect();
    assert!(
        made.len() > 5,
        "{} events in {} bytes: {}",
        made.len(),
        taken.len(),
        &text[..text.len().min(600)]
    );
    assert!(made.iter().all(|at| *at <= end), "until {end}: {:?}", made.last());

    let begin = Instant::now();
    let body = response.into_body().collect().await;
    let bytes = body.map(|body| body.to_bytes().len()).unwrap_or_default();
    assert_eq!(bytes, 0, "no window, no byte");
    assert!(begin.elapsed() < Duration::from_secs(20));
    let _closed = connection.await.unwrap();
}
