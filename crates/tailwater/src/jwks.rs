//! Fetches key sets over HTTPS.

use std::net::IpAddr;
use std::time::Duration;

use access::Fetch;
use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url, header};

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
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(FETCH_MAX)
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
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::response::Redirect;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    async fn server() -> String {
        let answer = |text: String| async move {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, "public, max-age=600".parse().unwrap());
            (headers, text)
        };
        let routes = Router::new()
            .route("/keys", get(move || answer("{}".to_owned())))
            .route("/large", get(move || answer("x".repeat(access::KEYS_BYTES_MAX + 1))))
            .route("/moved", get(|| async { Redirect::temporary("/keys") }))
            .route("/gone", get(|| async { StatusCode::NOT_FOUND }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_set_comes_whole_from_where_it_was_asked_or_not_at_all() {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let (server, https) = (server().await, Https::new().unwrap());
        let fetch = async |path: &str| https.fetch(&format!("{server}{path}")).await;
        let set = fetch("/keys").await.unwrap();
        assert_eq!(set, ("{}".to_owned(), Some(Duration::from_secs(600))));
        for (path, part) in [("/large", "65536 bytes"), ("/moved", "redirects"), ("/gone", "404")] {
            let error = fetch(path).await.unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
        assert!(https.fetch("http://127.0.0.1:1/").await.is_err());
    }

    #[test]
    fn a_key_set_comes_over_tls_or_from_this_machine() {
        for good in
            ["https://a.example/k", "http://127.0.0.1:8/k", "http://[::1]/k", "http://localhost/k"]
        {
            check_url(good).unwrap();
        }
        for bad in ["http://a.example/k", "ftp://a", "a.example", "https://u:p@a.example/"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
