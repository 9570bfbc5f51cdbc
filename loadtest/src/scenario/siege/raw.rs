//! Attacks over plain sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The attacker's address, which is one of this machine's.
const ATTACKER: [u8; 4] = [127, 0, 0, 66];
/// The pause of an attacker that was refused: the attack is not about its own CPU time.
const PAUSE: Duration = Duration::from_millis(50);
/// The time between two attempts to hold as much as planned.
const HOLD_EVERY: Duration = Duration::from_millis(500);
/// Connections that are opened again at each.
const AGAIN_MAX: usize = 10;

pub(super) async fn connect(target: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ATTACKER, 0).into())?;
    Ok(timeout(Duration::from_secs(2), socket.connect(target)).await??)
}

/// Sends the same bytes on many connections and then nothing, for `time`. Some of those that end are
/// opened again. Returns the connections that were open at the end.
pub(super) async fn hold(target: SocketAddr, count: usize, bytes: &[u8], time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut open: Vec<TcpStream> = Vec::new();
    while Instant::now() < end {
        let is_first = open.is_empty();
        open.retain(is_open);
        let missing = count - open.len();
        for _ in 0..if is_first { missing } else { missing.min(AGAIN_MAX) } {
            let Ok(mut stream) = connect(target).await else { break };
            if stream.write_all(bytes).await.is_ok() {
                open.push(stream);
            }
        }
        sleep(HOLD_EVERY).await;
    }
    open.len()
}

/// Returns true if the node has not closed the connection.
fn is_open(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 4096]) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Publishes empty events to new topics as fast as the node takes them. Returns the acknowledged ones.
pub(super) async fn flood(target: SocketAddr, time: Duration) -> u64 {
    let (end, mut number, mut stored) = (Instant::now() + time, 0_u64, 0);
    while Instant::now() < end {
        let lines: String = (0..500)
            .map(|line| format!("{{\"topic\":\"x{}\",\"data\":\"\"}}\n", number + line))
            .collect();
        number += 500;
        let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                    content-type: application/x-ndjson\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{lines}", lines.len());
        let Ok(mut stream) = connect(target).await else { continue };
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            anyhow::Ok(String::from_utf8_lossy(&answer).matches("\"id\"").count())
        };
        match timeout(Duration::from_secs(5), exchange).await {
            Ok(Ok(count)) if count > 0 => stored += count as u64,
            _ => sleep(PAUSE).await,
        }
    }
    stored
}

/// Reads a topic from a place again and again, over so many connections, `each` bytes at most a time.
/// Returns the bytes that came and the number of requests.
pub(super) async fn replay(
    target: SocketAddr,
    query: &str,
    connections: usize,
    each: u64,
    time: Duration,
) -> (u64, u64) {
    let end = Instant::now() + time;
    let request = format!("GET /v1/events?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut readers = JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        readers.spawn(async move {
            let (mut bytes, mut requests) = (0, 0);
            while Instant::now() < end {
                match timeout_at(end, read(target, &request, each)).await {
                    Ok(Ok(count)) => {
                        bytes += count;
                        requests += 1;
                        sleep(PAUSE).await;
                    }
                    Ok(Err(_)) => sleep(PAUSE).await,
                    Err(_) => {}
                }
            }
            (bytes, requests)
        });
    }
    readers.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// Sends one request and reads `most` bytes of the answer, or what there is for a second.
async fn read(target: SocketAddr, request: &str, most: u64) -> Result<u64> {
    let mut stream = connect(target).await?;
    stream.write_all(request.as_bytes()).await?;
    let (mut got, mut buffer) = (0, vec![0; 256 * 1024]);
    while got < most {
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => got += count as u64,
            _ => break,
        }
    }
    Ok(got)
}

/// Asks for event streams as so many clients do that come back at once when theirs has ended. Returns the streams that
/// told a client to come back.
pub(super) async fn hurry(target: SocketAddr, clients: usize, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let mut all = JoinSet::new();
    for _ in 0..clients {
        all.spawn(async move {
            let mut refusals = 0;
            while Instant::now() < end {
                match timeout_at(end, answer(target)).await {
                    Ok(Ok(answer)) => refusals += u64::from(answer.contains("tailwater.reconnect")),
                    Ok(Err(_)) => sleep(PAUSE).await,
                    Err(_) => {}
                }
            }
            refusals
        });
    }
    all.join_all().await.into_iter().sum()
}

/// A stream from its beginning to its end.
async fn answer(target: SocketAddr) -> Result<String> {
    let mut stream = connect(target).await?;
    stream.write_all(b"GET /v1/events?topic=full HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks for something once, and returns the status of the answer; 0 without one.
pub(super) async fn status(target: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = connect(target).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; 12];
    timeout(Duration::from_secs(5), stream.read_exact(&mut line)).await??;
    Ok(String::from_utf8_lossy(&line[9..]).parse().unwrap_or(0))
}
