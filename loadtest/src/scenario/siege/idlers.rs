//! Connections that send a little again and again, and ask for nothing: their node closes them.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use h2::{Ping, client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ends::timed;
use super::raw;
use super::target::{Besieged, Store};
use crate::report::SheetRow;

/// Connections of each kind.
const CONNECTIONS: usize = 20;
/// The time between two pieces.
const PIECE_EVERY: Duration = Duration::from_secs(1);
/// The longest wait for the node to close one.
const END_MAX: Duration = Duration::from_mins(3);
/// The time for which a connection may ping: a minute without a request, and what a node needs to look.
const PINGS_MAX: Duration = Duration::from_secs(75);
/// The time for which a body of new log levels may come: 5 s, and what a node needs to close.
const LEVELS_MAX: Duration = Duration::from_secs(10);
/// The head of a change of the log levels, whose body comes slowly.
const LEVELS: &[u8] = b"PUT /debug/log HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000\r\n\r\n";

/// Waits until the node has closed connections of both kinds.
pub(super) async fn run(program: &Path) -> Result<Vec<SheetRow>> {
    let target = Besieged::start(program, Store::Embedded, &[]).await?;
    let (pings, levels) = tokio::join!(ping(target.addr()), drip(target.admin()));
    let held = format!("{CONNECTIONS} connections");
    let row = |name, took, allowed| timed(name, held.clone(), took, allowed, Vec::new());
    Ok(vec![
        row("HTTP/2 that only pings", pings?, PINGS_MAX),
        row("slow PUT /debug/log", levels?, LEVELS_MAX),
    ])
}

/// Opens HTTP/2 connections that ping and answer pings, and returns the life of the longest.
async fn ping(target: SocketAddr) -> Result<Duration> {
    let begin = Instant::now();
    let mut lives = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (requests, mut connection) = client::handshake(raw::connect(target).await?).await?;
        let mut pings = connection.ping_pong().context("an HTTP/2 connection pings")?;
        lives.spawn(async move {
            let pinging = async {
                while pings.ping(Ping::opaque()).await.is_ok() {
                    sleep(PIECE_EVERY).await;
                }
                pending::<()>().await;
            };
            let closed = async { connection.await.err() };
            select! {
                _ = timeout(END_MAX, closed) => (),
                () = pinging => (),
            }
            // A connection without a handle that may request something would close by itself.
            drop(requests);
            begin.elapsed()
        });
    }
    Ok(longest(lives).await)
}

/// Opens connections that send a byte of new log levels a second, and returns the life of the longest.
async fn drip(target: SocketAddr) -> Result<Duration> {
    let begin = Instant::now();
    let mut lives = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut stream = raw::connect(target).await?;
        stream.write_all(LEVELS).await?;
        lives.spawn(async move {
            while begin.elapsed() < END_MAX && is_taken(&mut stream, b"i").await {}
            begin.elapsed()
        });
    }
    Ok(longest(lives).await)
}

async fn longest(lives: JoinSet<Duration>) -> Duration {
    lives.join_all().await.into_iter().max().unwrap_or_default()
}

/// Sends a piece, and waits for the next. Returns false once the node has closed the connection.
async fn is_taken(stream: &mut TcpStream, piece: &[u8]) -> bool {
    if stream.write_all(piece).await.is_err() {
        return false;
    }
    let next = Instant::now() + PIECE_EVERY;
    let mut buffer = [0; 4096];
    while let Ok(read) = timeout_at(next, stream.read(&mut buffer)).await {
        if !matches!(read, Ok(count) if count > 0) {
            return false;
        }
    }
    true
}
