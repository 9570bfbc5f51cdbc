//! The clients for the shell: a publisher and a subscriber.

use anyhow::{Context as _, Error, Result, ensure};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};
use tokio::signal::unix::{SignalKind, signal};

mod printable;
pub(crate) mod publish;
mod source;
pub(crate) mod tail;

pub(crate) use printable::printable;

use crate::args::ClientToken;
use crate::secret::SecretFile;

/// Runs a client to its end, on this thread. Its error may quote a server, so it is made printable.
pub(crate) fn run(client: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let finished = runtime.context("the runtime did not start")?.block_on(client);
    finished.map_err(|error| Error::msg(printable(&format!("{error:#}")).into_owned()))
}

/// Returns an HTTP client without a limit on the duration of a response, which may be a stream.
pub(crate) fn http() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .connect_timeout(std::time::Duration::from_secs(5))
        .tcp_nodelay(true)
        .user_agent(concat!("tailwater/", env!("CARGO_PKG_VERSION")));
    builder.build().context("cannot build the HTTP client")
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

/// Adds the token of a client to a request: the one in its file, which may change, or that of TAILWATER_TOKEN.
pub(crate) fn authorized(request: RequestBuilder, token: &ClientToken) -> Result<RequestBuilder> {
    let token = match &token.file {
        Some(path) => Some(SecretFile::new("--token-file", path).read()?),
        None => token_of_environment(),
    };
    let Some(token) = token else { return Ok(request) };
    let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut header = header.ok().context("the token has characters that no token has")?;
    header.set_sensitive(true);
    Ok(request.header(AUTHORIZATION, header))
}

#[expect(clippy::disallowed_methods, reason = "a flag of clap would show in the list of processes")]
fn token_of_environment() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// The environment variable with a client's token.
const TOKEN: &str = "TAILWATER_TOKEN";

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot handle signals"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Describes a refusal: the server, the status and the message.
fn refusal(url: &Url, status: StatusCode, body: &str) -> String {
    let answered = format!("{} answered {status}", url.origin().ascii_serialization());
    match message_of(body) {
        message if message.is_empty() => answered,
        message => format!("{answered}: {message}"),
    }
}

/// Returns the message of an error in Tailwater's format, or else the body itself.
fn message_of(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| json["error"]["message"].as_str());
    message.unwrap_or(body).trim().to_owned()
}
