//! Fetches key sets over HTTPS.

use std::net::IpAddr;
use std::time::Duration;

use access::Fetch;
use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode, Url, header};

/// A client for key servers.
#[derive(Debug)]
pub(crate) struct Https(Client);

/// The longest time for one fetch.
const FETCH_MAX: Duration = Duration::from_secs(5);

/// Checks the address of a key set: over TLS, or on this machine.
pub(crate) fn check_url(text: &str) -> Result<()> {
    let url = Url::parse(text).with_context(|| format!("{text:?} is no address of a key set"))?;
    let is_local = url.host_str().is_some_and(|host| {
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
    });
    ensure!(
        url.scheme() == "https" || url.scheme() == "http" && is_local,
        "{text:?} is no address of a key set: it must begin with https:// (http:// only for this machine)"
    );
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "the address of a key set must have no user and no password"
    );
    Ok(())
}

impl Https {
    pub(crate) fn new() -> Result<Self> {
        Self::build(Client::builder(), FETCH_MAX)
    }

    fn build(client: ClientBuilder, limit: Duration) -> Result<Self> {
        let client = client
            .redirect(Policy::none())
            .timeout(limit)
            .user_agent(concat!("tailwater/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self(client.context("cannot build the HTTP client of key sets")?))
    }

    async fn text(&self, url: &str) -> Result<(String, Option<Duration>)> {
        let request = self.0.get(url).header(header::ACCEPT, "application/json");
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        ensure!(!status.is_redirection(), "the server redirects ({status}), which is not followed");
        ensure!(status == StatusCode::OK, "the server answered {status}");
        let kept = response.headers().get(header::CACHE_CONTROL);
        let kept = kept.and_then(|value| max_age(value.to_str().ok()?));
        let (mut body, mut text) = (response.bytes_stream(), Vec::new());
        while let Some(chunk) = body.next().await {
            text.extend_from_slice(&chunk.map_err(reqwest::Error::without_url)?);
            ensure!(
                text.len() <= access::KEYS_BYTES_MAX,
                "the set has more than {} bytes",
                access::KEYS_BYTES_MAX
            );
        }
        Ok((String::from_utf8(text).context("the set is not UTF-8")?, kept))
    }
}

#[access::async_trait]
impl Fetch for Https {
    async fn fetch(&self, url: &str) -> Result<(String, Option<Duration>), String> {
        self.text(url).await.map_err(|error| format!("{error:#}"))
    }
}

/// The `max-age` of a `Cache-Control` header.
fn max_age(value: &str) -> Option<Duration> {
    let mut parts = value.split(',').filter_map(|part| part.trim().split_once('='));
    let (_, seconds) = parts.find(|(name, _)| name.eq_ignore_ascii_case("max-age"))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
