//! The clients: a publisher and a subscriber for the shell, well-behaved both.

use anyhow::{Context as _, Result, ensure};
use reqwest::{StatusCode, Url};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) mod publish;
mod source;
pub(crate) mod tail;

/// Runs a client.
pub(crate) fn run(client: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime did not start")?.block_on(client)
}

/// An HTTP client that waits for streams as long as they last.
pub(crate) fn http() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .connect_timeout(std::time::Duration::from_secs(5))
        .tcp_nodelay(true)
        .user_agent(concat!("tailwater/", env!("CARGO_PKG_VERSION")));
    builder.build().context("the HTTP client")
}

/// Where events are, at a server that is given as `--url`.
fn events_url(server: &str) -> Result<Url> {
    let mut url = Url::parse(server).with_context(|| format!("--url {server}"))?;
    let is_http = matches!(url.scheme(), "http" | "https");
    ensure!(is_http, "--url {server}: it must begin with http:// or https://");
    let mut path = url.path_segments_mut().expect("an http URL has a path");
    path.pop_if_empty().extend(["v1", "events"]);
    drop(path);
    Ok(url)
}

/// Waits for SIGINT, as people send it, or SIGTERM.
async fn told_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be handled")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("signals cannot be handled"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Which server refused, and why.
fn refusal(url: &Url, status: StatusCode, body: &str) -> String {
    let answered = format!("{} answered {status}", url.origin().ascii_serialization());
    match message_of(body) {
        message if message.is_empty() => answered,
        message => format!("{answered}: {message}"),
    }
}

/// What the server says is wrong, if it says so in its own way.
fn message_of(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| json["error"]["message"].as_str());
    message.unwrap_or(body).trim().to_owned()
}
