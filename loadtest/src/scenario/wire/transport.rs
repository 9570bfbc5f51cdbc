//! A way to carry an event stream, and a client of it.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::certificate::{Certificate, HOST};

const PATH: &str = "/v1/events?topic=bench";

/// The carrier of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transport {
    pub(super) is_http2: bool,
    pub(super) is_tls: bool,
    /// Streams of one connection.
    pub(super) streams: usize,
}

impl Transport {
    /// All that there is, with so many streams of one connection where it may have several.
    pub(super) fn all(streams: usize) -> Vec<Self> {
        let ways = [(false, 1), (true, streams), (true, 1)];
        let both =
            |(is_http2, streams)| [false, true].map(|is_tls| Self { is_http2, is_tls, streams });
        ways.into_iter().flat_map(both).collect()
    }

    pub(super) fn name(self) -> String {
        match (self.is_http2, self.is_tls) {
            (false, false) => "HTTP/1.1".to_owned(),
            (false, true) => "HTTP/1.1, TLS".to_owned(),
            (true, false) => format!("h2c x{}", self.streams),
            (true, true) => format!("h2, TLS x{}", self.streams),
        }
    }
}

/// Makes connections of one kind to one server.
#[derive(Clone)]
pub(super) struct WireClient {
    address: SocketAddr,
    is_http2: bool,
    tls: Option<TlsConnector>,
    /// From then on its connections are neither read nor closed.
    pub(super) stall: CancellationToken,
}

/// An open connection.
pub(super) struct WireConnection {
    sender: Sender,
    _driver: AbortOnDropHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl WireClient {
    pub(super) fn new(
        address: SocketAddr,
        transport: Transport,
        certificate: &Certificate,
    ) -> Result<Self> {
        let protocol = if transport.is_http2 { "h2" } else { "http/1.1" };
        let tls = transport
            .is_tls
            .then(|| certificate.connector(protocol, Resumption::disabled()))
            .transpose()?;
        Ok(Self { address, is_http2: transport.is_http2, tls, stall: CancellationToken::new() })
    }

    pub(super) async fn connect(&self) -> Result<WireConnection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.shake_hands(stream).await,
            Some(tls) => {
                let stream = tls.connect(ServerName::try_from(HOST)?, stream).await?;
                self.shake_hands(stream).await
            }
        }
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<WireConnection>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, stall) = (TokioIo::new(stream), self.stall.clone());
        let (sender, driver) = if self.is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            (Sender::Http2(sender), tokio::spawn(drive(connection, stall)))
        } else {
            let (sender, connection) = http1::handshake(stream).await?;
            (Sender::Http1(sender), tokio::spawn(drive(connection, stall)))
        };
        Ok(WireConnection { sender, _driver: AbortOnDropHandle::new(driver) })
    }
}

/// Reads and writes until it is told to stall. An error reaches the readers of the streams as well.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, stall: CancellationToken) {
    let mut connection = pin!(connection);
    tokio::select! {
        // First: a stalled connection reads no more.
        biased;
        () = stall.cancelled() => pending().await,
        _ = &mut connection => {}
    }
}

impl WireConnection {
    /// Opens a stream of the topic.
    pub(super) async fn subscribe(&mut self) -> Result<Incoming> {
        let answer = self.send(Method::GET, ("accept", "text/event-stream"), Bytes::new()).await?;
        Ok(answer.into_body())
    }

    /// Publishes an event and waits for its receipt.
    pub(super) async fn publish(&mut self, payload: String) -> Result<()> {
        let kind = ("content-type", "text/plain");
        let answer = self.send(Method::POST, kind, payload.into()).await?;
        answer.into_body().collect().await?;
        Ok(())
    }

    async fn send(
        &mut self,
        method: Method,
        (name, value): (&str, &str),
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder().method(method).header(name, value);
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request.uri(PATH).header("host", HOST).body(Full::new(body))?;
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let uri = format!("http://{HOST}{PATH}");
                sender.send_request(request.uri(uri).body(Full::new(body))?).await
            }
        };
        let answer = answer.context("no answer")?;
        ensure!(answer.status() == StatusCode::OK, "refused: {}", answer.status());
        Ok(answer)
    }
}
