//! An upstream without Tailwater's headers: shows if a load balancer passes a stream at once because of them,
//! and what it adds to a request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::loopback::Loopback;
use crate::client::sse::Connection;

/// The pause between two events.
const PAUSE: Duration = Duration::from_millis(500);
/// The events of a stream.
const EVENTS: usize = 8;
/// An event that comes later has waited for the end of its stream, which comes after 4 s.
const AT_ONCE: Duration = Duration::from_secs(2);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The name by which the client calls the load balancer.
const HOST: &str = "events.example.com";
/// A claim of the client about its address, which must not pass.
const CLAIM: &str = "203.0.113.77";

/// A way to send a stream: its path and its headers. `Connection: close` ends the body by the end of the connection.
const WAYS: [(&str, &str); 4] = [
    ("/chunked", "Transfer-Encoding: chunked\r\n"),
    ("/accel", "Transfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n"),
    ("/incremental", "Transfer-Encoding: chunked\r\nIncremental: ?1\r\n"),
    ("/close", "Connection: close\r\n"),
];

/// The conduct of a load balancer in front of a server that is not Tailwater.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Plain {
    /// Streams that pass at once, in the order of `WAYS`.
    pub(super) at_once: [bool; 4],
    /// The version of HTTP on the side of the upstream.
    pub(super) version: String,
    /// The `Host` of the request; the client's was `events.example.com`.
    pub(super) is_host_kept: bool,
    /// `X-Forwarded-For` for a client that claimed an address.
    pub(super) forwarded_for: AddressHeader,
    /// True if the `Forwarded` of a client passes.
    pub(super) passes_forwarded: bool,
}

/// `X-Forwarded-For` at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AddressHeader {
    /// The load balancer writes none, and removes the client's.
    None,
    /// The client's own claim.
    Claim,
    /// The claim, and the address behind it.
    Appended,
    /// The address alone.
    Replaced,
}

/// Streams through a load balancer in front of such upstreams.
pub(super) async fn measure(web: SocketAddr, upstream: &BareUpstream) -> Result<Plain> {
    let mut at_once = [false; 4];
    for (at_once, (path, _)) in at_once.iter_mut().zip(WAYS) {
        *at_once = timeout(AT_ONCE, first_event(web, path)).await.unwrap_or(false);
    }
    let head = upstream.last_head();
    let value = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let forwarded_for = value("x-forwarded-for");
    // For a client on the loopback interface Envoy writes an address of the machine.
    let has_address = forwarded_for.replace(CLAIM, "").contains('.');
    let forwarded_for = match (forwarded_for.contains(CLAIM), has_address) {
        (false, false) => AddressHeader::None,
        (true, false) => AddressHeader::Claim,
        (true, true) => AddressHeader::Appended,
        (false, true) => AddressHeader::Replaced,
    };
    let first = head.lines().next().unwrap_or_default();
    Ok(Plain {
        at_once,
        version: first.rsplit(' ').next().unwrap_or_default().to_owned(),
        is_host_kept: value("host") == HOST,
        forwarded_for,
        passes_forwarded: value("forwarded").contains(CLAIM),
    })
}

async fn first_event(web: SocketAddr, path: &str) -> bool {
    let forwarded = format!("for={CLAIM}");
    let headers = [("Host", HOST), ("X-Forwarded-For", CLAIM), ("Forwarded", &*forwarded)];
    match Connection::open(web, path, &headers).await {
        Ok(mut stream) => stream.next_event().await.is_some(),
        Err(_) => false,
    }
}

/// A server at the addresses of both gateways of a loopback.
#[derive(Debug)]
pub(super) struct BareUpstream {
    head: Arc<Mutex<String>>,
    _servers: Vec<AbortOnDropHandle<()>>,
}

impl BareUpstream {
    pub(super) async fn start(loopback: &Loopback<'_>) -> Result<BareUpstream> {
        let head = Arc::new(Mutex::new(String::new()));
        let mut servers = Vec::new();
        for index in [1, 2] {
            for port in [&loopback.ports.listen, &loopback.ports.admin] {
                let ip: Ipv4Addr = loopback.upstream(index);
                let listener = TcpListener::bind((ip, port.number())).await?;
                servers
                    .push(AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::clone(&head)))));
            }
        }
        Ok(BareUpstream { head, _servers: servers })
    }

    /// The head of the last request for a stream.
    fn last_head(&self) -> String {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, head: Arc<Mutex<String>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let head = Arc::clone(&head);
        tokio::spawn(async move {
            // An error means that the load balancer is gone.
            answer(stream, &head).await.ok();
        });
    }
}

/// Answers one request, and closes.
async fn answer(mut stream: TcpStream, last_head: &Mutex<String>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await?;
        anyhow::ensure!(length > 0 && head.len() < HEAD_BYTES_MAX, "no head of a request");
        head.extend_from_slice(&buffer[..length]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some((_, headers)) = WAYS.iter().find(|(path, _)| head.contains(&format!("{path} ")))
    else {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
            .await?;
        return Ok(());
    };
    // HTTP/1.0 knows no chunks.
    let is_old = head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0"));
    last_head.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&head);
    let headers = if is_old {
        headers.replace("Transfer-Encoding: chunked\r\n", "")
    } else {
        (*headers).to_owned()
    };
    let is_chunked = headers.contains("chunked");
    stream
        .write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{headers}\r\n")
                .as_bytes(),
        )
        .await?;
    let begin = Instant::now();
    for number in 0..EVENTS {
        let event = format!("data: {number} after {} ms\n\n", begin.elapsed().as_millis());
        let event = if is_chunked { format!("{:x}\r\n{event}\r\n", event.len()) } else { event };
        stream.write_all(event.as_bytes()).await?;
        sleep(PAUSE).await;
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}
