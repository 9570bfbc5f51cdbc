//! Events over WebSocket, as lean as Tailwater sends them as SSE: a task a connection on the bare
//! socket, every event encoded once. Absent: cursors, history, fragments, TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha1_smol::Sha1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Sender, error::RecvError};

const HEAD_MAX: usize = 16 * 1024;
const BACKLOG_EVENTS: usize = 1024;
const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A whole message of text, and the sign that its length follows in two bytes.
const TEXT: u8 = 0x81;
const LENGTH_IN_TWO: u8 = 126;

/// Serves for ever.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    let (sender, _) = broadcast::channel(BACKLOG_EVENTS);
    let sender = Arc::new(sender);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let sender = Arc::clone(&sender);
        tokio::spawn(async move {
            // A client that breaks off ends its own task only.
            answer(stream, &sender).await.ok();
        });
    }
}

/// A connection that publishes, or one that reads.
async fn answer(mut stream: TcpStream, sender: &Sender<Bytes>) -> Result<()> {
    let mut read = Vec::new();
    let mut number = 0_u64;
    loop {
        let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n").map(|at| at + 4) else {
            ensure!(read.len() < HEAD_MAX, "a head that does not end");
            ensure!(stream.read_buf(&mut read).await? > 0, "closed");
            continue;
        };
        let head = str::from_utf8(&read[..end])?.to_owned();
        read.drain(..end);
        if head.starts_with("GET") {
            return Box::pin(stream_to(stream, &head, sender)).await;
        }
        let length: usize = header(&head, "content-length: ").context("no length")?.parse()?;
        while read.len() < length {
            ensure!(stream.read_buf(&mut read).await? > 0, "closed");
        }
        number += 1;
        let data = str::from_utf8(&read[..length])?;
        // An error says that there is no reader.
        sender.send(frame(&format!("data: {data}\nid: {number}"))?).ok();
        read.drain(..length);
        stream.write_all(ACCEPTED).await?;
    }
}

async fn stream_to(mut stream: TcpStream, head: &str, sender: &Sender<Bytes>) -> Result<()> {
    let key = header(head, "sec-websocket-key: ").context("no WebSocket")?;
    let accept =
        BASE64_STANDARD.encode(Sha1::from([key.as_bytes(), GUID].concat()).digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut events = sender.subscribe();
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => stream.write_all(&event).await?,
                Err(RecvError::Lagged(count)) => bail!("{count} events behind"),
                Err(RecvError::Closed) => return Ok(()),
            },
            // Its clients say nothing but goodbye.
            count = stream.read(&mut ignored) => ensure!(count? > 0, "closed"),
        }
    }
}

fn frame(text: &str) -> Result<Bytes> {
    let length = u16::try_from(text.len()).context("an event too long for this program")?;
    let mut frame = vec![TEXT];
    match u8::try_from(length) {
        Ok(short) if short < LENGTH_IN_TWO => frame.push(short),
        _ => {
            frame.push(LENGTH_IN_TWO);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    Ok(frame.into())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn lengths_are_written_as_the_standard_says() {
        assert_eq!(&frame("abc").unwrap()[..], b"\x81\x03abc");
        let long = "x".repeat(200);
        assert_eq!(&frame(&long).unwrap()[..5], b"\x81\x7e\x00\xc8x");
    }
}
