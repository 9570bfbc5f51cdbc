//! A publisher whose body has no end: a line of NDJSON every five seconds, and a receipt for each.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::installation::{self, Installation};

/// The pause between two lines.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest wait for the rest of the answer, once the body has ended.
const REST: Duration = Duration::from_secs(3);
/// The word that stands once in each receipt.
const RECEIPT: &[u8] = b"\"duplicate\"";

/// The fate of a body.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BodyFate {
    /// Each receipt came while the body went on.
    Lived,
    /// The gateway stored the events at once, but receipts came at the end of the body.
    LateReceipts,
    /// The gateway got nothing before the end of the body.
    Held,
    /// Cut after so many seconds, with this status.
    Cut(f64, Option<u16>),
}

/// Sends a body for this time.
pub(super) async fn send(installation: &Installation, time: Duration) -> Result<BodyFate> {
    let topic = installation.topic("body");
    // Reads at the gateway itself what is stored.
    let mut stored = installation::open(installation.gateways[0].addr(), &topic).await?.connection;
    let begin = Instant::now();
    let mut stream = connect(installation.web(), &topic).await?;
    let (mut answer, mut events) = (Vec::new(), 0);
    let mut is_open = true;
    while is_open && begin.elapsed() < time {
        is_open = chunk(&mut stream, "{\"data\":\"line\"}\n").await.is_ok();
        let pause = sleep(PAUSE);
        tokio::pin!(pause);
        while is_open {
            let mut buffer = [0; 4096];
            tokio::select! {
                () = &mut pause => break,
                event = stored.next_event() => events += usize::from(event.is_some()),
                // Cancel-safe: a read that is dropped has taken nothing.
                read = stream.read(&mut buffer) => match read {
                    Ok(length) if length > 0 => answer.extend_from_slice(&buffer[..length]),
                    _ => is_open = false,
                },
            }
        }
        // An error ends the answer with its last chunk, and the connection may stay.
        is_open &= !answer.windows(5).any(|five| five == b"0\r\n\r\n")
            && status(&answer).unwrap_or(200) == 200;
    }
    let lived = begin.elapsed().as_secs_f64();
    if !is_open {
        return Ok(BodyFate::Cut(lived, status(&answer)));
    }
    let early = receipts(&answer);
    stream.write_all(b"0\r\n\r\n").await.ok();
    let rest = async { stream.read_to_end(&mut answer).await };
    timeout(REST, rest).await.ok();
    Ok(match (early, events) {
        (0, 0) => BodyFate::Held,
        (0, _) => BodyFate::LateReceipts,
        _ => BodyFate::Lived,
    })
}

async fn connect(web: SocketAddr, topic: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(web).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST /v1/events?topic={topic} HTTP/1.1\r\nHost: {web}\r\nContent-Type: application/x-ndjson\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

async fn chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}

fn receipts(answer: &[u8]) -> usize {
    answer.windows(RECEIPT.len()).filter(|window| *window == RECEIPT).count()
}

fn status(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{receipts, status};

    #[test]
    fn receipts_and_status_of_an_answer() {
        let answer = b"HTTP/1.1 200 OK\r\n\r\n{\"duplicate\":false}\n{\"duplicate\":true}\n";
        assert_eq!((receipts(answer), status(answer)), (2, Some(200)));
        assert_eq!(status(b"HTTP"), None);
    }
}
