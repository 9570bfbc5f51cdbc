//! An answer that is complete, written as HTTP/1.1; the connection's last.

use std::io;
use std::time::SystemTime;

use axum::body::to_bytes;
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Refusals and what else is answered here have a few lines.
const BODY_MAX: usize = 64 * 1024;

/// Sends it and closes the connection.
pub(super) async fn send(mut socket: TcpStream, response: Response) -> io::Result<()> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_MAX).await.map_err(io::Error::other)?;
    let mut out = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH {
            put_header(&mut out, name.as_str(), value.as_bytes());
        }
    }
    if parts.status != StatusCode::NO_CONTENT {
        put_header(&mut out, "content-length", body.len().to_string().as_bytes());
    }
    put_rest(&mut out);
    out.extend_from_slice(&body);
    socket.write_all(&out).await?;
    socket.shutdown().await
}

/// Ends a head with what every answer has. The client is to come back over a connection of its own,
/// which may lead elsewhere.
pub(super) fn put_rest(out: &mut Vec<u8>) {
    put_header(out, "connection", b"close");
    put_header(out, "date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn put_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
