//! A gateway that is killed: the end that its clients see, and the next connects.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::installation::{Installation, OpenStream};
use crate::client::sse::End;

/// Connects of each kind, until one of them reaches the victim.
const TRIES: usize = 8;
/// The longest wait for the head of a stream over HTTP/2, and its first bytes.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// The longest wait for an end.
const END_MAX: Duration = Duration::from_secs(5);
/// Connects after the death.
pub(super) const NEXT: usize = 10;

/// An end as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SeenEnd {
    /// A broken chunk, or a reset.
    Broken,
    /// The end of a complete answer.
    Clean,
    /// None within 5 s.
    None,
    /// No such stream opens.
    NoStream,
}

/// The death of a gateway.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Death {
    pub(super) http1: SeenEnd,
    pub(super) http2: SeenEnd,
    /// Of the connects after it, those that got a stream.
    pub(super) next: usize,
}

/// Kills a gateway that serves streams of both kinds, if the load balancer takes both.
pub(super) async fn strike(installation: &mut Installation) -> Result<Death> {
    let topic = installation.topic("death");
    let Ok(OpenStream { mut connection, node }) = installation.open(&topic).await else {
        return Ok(Death { http1: SeenEnd::NoStream, http2: SeenEnd::NoStream, next: 0 });
    };
    // All of them stay open, since a load balancer that counts connections would choose the same gateway again.
    let mut http2 = Vec::with_capacity(TRIES);
    while http2.len() < TRIES && http2.last().is_none_or(|last: &Http2Stream| last.node != node) {
        match timeout(OPEN_MAX, Http2Stream::open(installation.web(), &topic)).await {
            Ok(Ok(stream)) => http2.push(stream),
            _ => break,
        }
    }
    let http2 = http2.pop().filter(|last| last.node == node);
    let victim = usize::from(node != installation.gateways[0].node());
    installation.gateways[victim].kill_nine()?;
    let end = async { while connection.next_event().await.is_some() {} };
    let http1 = match timeout(END_MAX, end).await {
        Err(_) => SeenEnd::None,
        Ok(()) if connection.end() == Some(End::Complete) => SeenEnd::Clean,
        Ok(()) => SeenEnd::Broken,
    };
    let http2 = match http2 {
        Some(stream) => stream.end().await,
        None => SeenEnd::NoStream,
    };
    let mut next = 0;
    for _ in 0..NEXT {
        next += usize::from(installation.open(&topic).await.is_ok());
    }
    Ok(Death { http1, http2, next })
}

/// A stream over HTTP/2 in clear, by prior knowledge.
struct Http2Stream {
    body: Incoming,
    node: String,
    _driver: AbortOnDropHandle<()>,
}

impl Http2Stream {
    async fn open(web: SocketAddr, topic: &str) -> Result<Http2Stream> {
        let stream = TokioIo::new(TcpStream::connect(web).await?);
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        let driver = tokio::spawn(async move {
            // An error reaches the reader of the stream as well.
            driver.await.ok();
        });
        let driver = AbortOnDropHandle::new(driver);
        let uri = format!("http://{web}/v1/events?topic={topic}");
        let request = Request::get(uri).header("accept", "text/event-stream");
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        anyhow::ensure!(answer.status() == 200, "status {}", answer.status());
        let mut body = answer.into_body();
        let mut text = String::new();
        while !text.contains("\n\n") {
            let frame = body.frame().await.context("the stream ended")??;
            text.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[], |data| data)));
        }
        let node = text.split("\"node\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let node = node.context("no node in the ready event")?.to_owned();
        Ok(Http2Stream { body, node, _driver: driver })
    }

    async fn end(mut self) -> SeenEnd {
        loop {
            match timeout(END_MAX, self.body.frame()).await {
                Err(_) => return SeenEnd::None,
                Ok(None) => return SeenEnd::Clean,
                Ok(Some(Err(_))) => return SeenEnd::Broken,
                Ok(Some(Ok(_))) => {}
            }
        }
    }
}
