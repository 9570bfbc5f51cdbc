//! The few HTTP requests that are no subscriptions: publishing, readiness, metrics.
//!
//! One keep-alive connection a client, requests one after the other. Absent: pools, redirects, TLS.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::client::endpoint::Endpoint;

/// The time limit of an answer, unless [`Client::timeout`] sets another one.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// An answer, read completely.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When `T` cannot read it; the message shows the status and the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("unexpected body of a {}: {:?}", self.status, self.text()))
    }
}

/// A client of one server that keeps its connection.
#[derive(Debug)]
pub struct Client {
    server: Endpoint,
    timeout: Duration,
    connection: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    /// A client that connects at its first request.
    pub fn new(server: impl Into<Endpoint>) -> Self {
        Client { server: server.into(), timeout: TIMEOUT_DEFAULT, connection: None }
    }

    /// Says how long an answer may take, the connection included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a GET.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn get(&mut self, path: &str) -> Result<Response> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends a POST.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response> {
        self.request(Method::POST, path, headers, body.into()).await
    }

    /// Sends one request and reads its whole answer, for any status.
    ///
    /// # Errors
    /// When there is no complete answer in time. The connection is then closed; the server
    /// may have done the request or not.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response> {
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.server.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).context("a bad request")?;
        let exchange = exchange(&self.server, self.connection.take(), request);
        let (open, response) = timeout(self.timeout, exchange)
            .await
            .with_context(|| format!("{} was silent for {:?}", self.server, self.timeout))??;
        self.connection = Some(open);
        Ok(response)
    }
}

/// Sends one GET over a connection of its own.
///
/// # Errors
/// As [`Client::request`].
pub async fn get(server: impl Into<Endpoint>, path: &str) -> Result<Response> {
    Client::new(server).get(path).await
}

async fn exchange(
    server: &Endpoint,
    open: Option<Open>,
    request: Request<Full<Bytes>>,
) -> Result<(Open, Response)> {
    let mut open = match open {
        Some(open) if !open.sender.is_closed() => open,
        _ => connect(server).await?,
    };
    open.sender.ready().await?;
    let (parts, body) = open.sender.send_request(request).await?.into_parts();
    let response = Response {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.collect().await?.to_bytes(),
    };
    Ok((open, response))
}

async fn connect(server: &Endpoint) -> Result<Open> {
    let stream = server.connect().await.with_context(|| format!("cannot connect to {server}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // An error here reaches the task that waits for the answer as well.
        connection.await.ok();
    });
    Ok(Open { sender, _driver: AbortOnDropHandle::new(driver) })
}
