//! The way to the upstream.

use std::error::Error as _;
use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, ClientBuilder, Response, Url};

use crate::error::Refusal;
use crate::{Config, headers};

/// Sends requests to the upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Without a slash at its end.
    base: Url,
    scheme: &'static str,
    silence_max: Duration,
    client: Client,
}

/// The longest time until a connection to the upstream is open.
const CONNECT_MAX: Duration = Duration::from_secs(10);

impl Upstream {
    /// Makes the client.
    ///
    /// # Errors
    /// The machine has no certificate authorities, and the upstream needs some.
    pub(crate) fn new(config: &Config) -> Result<Self, reqwest::Error> {
        let builder = || client(config.silence_max);
        let client = match builder().build() {
            // A host may have no certificate authorities, and an upstream in clear needs none.
            Err(_) if config.upstream.scheme() == "http" => {
                builder().tls_certs_only(iter::empty()).build()
            }
            built => built,
        };
        let (base, scheme) = (config.upstream.clone(), config.scheme);
        Ok(Self { base, scheme, silence_max: config.silence_max, client: client? })
    }

    /// Sends a request, and returns the answer when its head is there.
    ///
    /// # Errors
    /// The path leads elsewhere, or the upstream does not answer.
    pub(crate) async fn send(
        &self,
        parts: &Parts,
        body: Body,
        peer: Option<SocketAddr>,
    ) -> Result<Response, Refusal> {
        let url = place(&self.base, &parts.uri)?;
        let headers = headers::for_upstream(parts, peer, self.scheme);
        self.send_to(url, parts, headers, body).await
    }

    async fn send_to(
        &self,
        url: Url,
        parts: &Parts,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let request = self.client.request(parts.method.clone(), url).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| self.failure(error))?;
        headers::from_upstream(response.headers_mut());
        Ok(response)
    }

    fn failure(&self, error: reqwest::Error) -> Refusal {
        let error = error.without_url();
        let cause = error.source().map(ToString::to_string);
        tracing::debug!(%error, cause, "the upstream did not answer");
        match () {
            () if error.is_connect() => Refusal::Unreachable,
            () if error.is_timeout() => Refusal::Silent(self.silence_max.as_secs()),
            () if error.is_body() => Refusal::BadBody,
            () => Refusal::BrokenOff,
        }
    }
}

/// Asks an upstream for the head of its base. Any status proves that it can be reached and, over https, trusted.
///
/// # Errors
/// There is no connection, or no answer.
pub async fn probe(config: &Config) -> Result<StatusCode, reqwest::Error> {
    let Upstream { base, client, .. } = Upstream::new(config)?;
    let answer = client.head(base).send().await.map_err(reqwest::Error::without_url)?;
    Ok(answer.status())
}

/// Returns the URL of a request's path at the upstream.
fn place(base: &Url, uri: &Uri) -> Result<Url, Refusal> {
    let bad = || Refusal::BadPath(uri.path().chars().take(200).collect());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let url = Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/')));
    let url = url.map_err(|_| bad())?;
    // A path with `..` would otherwise reach what the operator has not opened.
    let inside = base.path().trim_end_matches('/');
    let is_inside = url.path().strip_prefix(inside).is_some_and(|rest| rest.starts_with('/'));
    (is_inside && url.origin() == base.origin()).then_some(url).ok_or_else(bad)
}

fn client(silence_max: Duration) -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_MAX)
        .read_timeout(silence_max)
        .tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, path: &str) -> Result<String, Refusal> {
        place(&Url::parse(base).unwrap(), &path.parse().unwrap()).map(String::from)
    }

    #[test]
    fn a_path_is_appended_to_the_base() {
        for (base, path, whole) in [
            ("http://h", "/v1/x?y=%20z", "http://h/v1/x?y=%20z"),
            ("http://h:81/", "/", "http://h:81/"),
            ("http://h/api", "/v1", "http://h/api/v1"),
            ("http://h/api/", "/v1/", "http://h/api/v1/"),
        ] {
            assert_eq!(url(base, path).unwrap(), whole);
        }
    }

    #[test]
    fn no_path_leaves_the_base() {
        for path in ["/../admin", "/%2e%2e/admin", "/x/../../admin"] {
            assert!(url("http://h/api", path).is_err(), "{path}");
        }
    }
}
