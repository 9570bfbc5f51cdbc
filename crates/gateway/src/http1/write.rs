//! Heads and complete answers as HTTP/1.1.

use std::io;
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::http::response::Parts;
use axum::http::{StatusCode, header};
use tokio::io::AsyncWriteExt as _;

use crate::chunk;
use crate::impatient::Impatient;
use crate::transport::Transport;

/// Refusals, and the other answers that are written here, have a few lines.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Room for the head of an event stream and its first event.
const HEAD_BYTES: usize = 640;

/// The head of an answer whose body comes in chunks, as bytes.
#[derive(Debug)]
pub(super) struct StreamHead(pub(super) Vec<u8>);

impl StreamHead {
    pub(super) fn new(parts: &Parts) -> Self {
        let mut out = begin(parts);
        put_header(&mut out, "transfer-encoding", b"chunked");
        end(&mut out);
        Self(out)
    }
}

/// Sends a complete answer and closes the connection.
pub(super) async fn whole(
    transport: impl Transport,
    parts: &Parts,
    body: Body,
    stall: Duration,
) -> io::Result<()> {
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(io::Error::other)?;
    let mut out = begin(parts);
    if parts.status != StatusCode::NO_CONTENT {
        put_header(&mut out, "content-length", body.len().to_string().as_bytes());
    }
    end(&mut out);
    out.extend_from_slice(&body);
    send(transport, &out, stall).await
}

/// Sends the bytes of a stream that then breaks off: its last chunk is missing.
pub(super) async fn cut(
    transport: impl Transport,
    parts: &Parts,
    bytes: &[u8],
    stall: Duration,
) -> io::Result<()> {
    let StreamHead(mut out) = StreamHead::new(parts);
    out.extend_from_slice(&chunk::of(bytes));
    send(transport, &out, stall).await
}

/// Sends bytes and closes the connection.
async fn send(transport: impl Transport, bytes: &[u8], stall: Duration) -> io::Result<()> {
    let mut transport = Impatient::new(transport, stall);
    transport.write_all(bytes).await?;
    transport.flush().await?;
    transport.shutdown().await
}

fn begin(parts: &Parts) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    put(&mut out, &[b"HTTP/1.1 ", parts.status.as_str().as_bytes(), b" "]);
    put(&mut out, &[parts.status.canonical_reason().unwrap_or_default().as_bytes(), b"\r\n"]);
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH {
            put_header(&mut out, name.as_str(), value.as_bytes());
        }
    }
    out
}

fn end(out: &mut Vec<u8>) {
    put_header(out, "date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
