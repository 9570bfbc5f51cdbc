//! The clients for the shell: a publisher and a subscriber.

use std::iter;

use anyhow::{Context as _, Error, Result, ensure};
use reqwest::{StatusCode, Url};
use tokio::signal::unix::{SignalKind, signal};

mod bearer;
mod control;
mod printable;
pub(crate) mod publish;
mod source;
pub(crate) mod tail;

pub(crate) use printable::printable;

use crate::args::ClientToken;

/// Runs a client to its end, on this thread. Its error may quote a server, so it is made printable.
pub(crate) fn run(client: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let finished = runtime.context("the runtime did not start")?.block_on(client);
    finished.map_err(|error| Error::msg(printable(&format!("{error:#}")).into_owned()))
}

/// Returns an HTTP client for a URL, without a limit on the duration of a response, which may be a stream.
pub(crate) fn http(url: &Url) -> Result<reqwest::Client> {
    let builder = || {
        reqwest::Client::builder()
            .connect_timeout(std::time::Duration::from_secs(5))
            .tcp_nodelay(true)
            .user_agent(concat!("tailwater/", env!("CARGO_PKG_VERSION")))
    };
    let built = match builder().build() {
        // A host may have no certificate authorities, and a server in clear needs none.
        Err(_) if url.scheme() == "http" => builder().tls_certs_only(iter::empty()).build(),
        built => built,
    };
    built.context("cannot build the HTTP client")
}

/// Returns the URL of the events of the server given as `--url`.
fn events_url(server: &str) -> Result<Url> {
    let mut url = Url::parse(server).with_context(|| format!("--url {server}"))?;
    let is_http = matches!(url.scheme(), "http" | "https");
    ensure!(is_http, "--url {server}: it must begin with http:// or https://");
    let mut path = url.path_segments_mut().expect("an http URL has a path");
    path.pop_if_empty().extend(["v1", "events"]);
    drop(path);
    Ok(url)
}

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot handle signals"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Describes a refusal: the server, the status, the message, and what to do about the token.
fn refusal(url: &Url, status: StatusCode, body: &str, token: &ClientToken) -> String {
    let answered = format!("{} answered {status}", url.origin().ascii_serialization());
    match message_of(body) {
        message if message.is_empty() => answered,
        message => format!("{answered}: {message}{}", bearer::advice(token, body)),
    }
}

/// Returns the message of an error in Tailwater's format, or else the body itself.
fn message_of(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| json["error"]["message"].as_str());
    message.unwrap_or(body).trim().to_owned()
}
