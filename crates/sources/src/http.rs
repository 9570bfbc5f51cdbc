//! Requests to an HTTP server: the settings that the kinds of this family share, the client, and what a refusal means.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::io::Read as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use crate::source::Failure;

mod feed;
mod pause;
#[cfg(test)]
pub(crate) mod stage;

pub(crate) use feed::{Feed, Items, stream};
pub(crate) use pause::Pause;

/// The longest time until a connection is open.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 32;
/// The largest file with a header's value or with certificates, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The longest silence if the configuration does not say.
const SILENCE_MAX: &str = "5m";
/// The bounds of `silence-max`.
const SILENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(24)];
/// Headers that the relay sets itself, or that belong to the connection.
const OWN_HEADERS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-modified-since",
    "if-none-match",
    "last-event-id",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The longest silence if the configuration does not say.
pub(crate) fn silence_max() -> String {
    SILENCE_MAX.to_owned()
}

/// The value of a header in the configuration.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a header is a text, or { file = \"...\" } with or without prefix = \"...\""
)]
pub(crate) enum HeaderText {
    Text(String),
    File(Secret),
}

/// A value that stands in a file, which is read at each connection.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    file: PathBuf,
    /// Stands before it, as `Bearer ` does.
    #[serde(default)]
    prefix: String,
}

impl fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("a text"),
            Self::File(secret) => write!(f, "{}", secret.file.display()),
        }
    }
}

/// The address of a source, and the headers and limits of a request to it.
#[derive(Clone)]
pub(crate) struct Remote {
    url: Url,
    headers: Vec<(HeaderName, HeaderText)>,
    ca_file: Option<PathBuf>,
    pub(crate) silence_max: Duration,
}

impl fmt::Debug for Remote {
    /// Without the query, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }
}

impl Remote {
    /// Checks the settings.
    ///
    /// # Errors
    /// The mistake, with the name of the setting, its value and its limit.
    pub(crate) fn new(
        url: &str,
        headers: BTreeMap<String, HeaderText>,
        ca_file: Option<PathBuf>,
        silence_max: &str,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("url = {url:?}: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(format!("url begins with {}:; it must be http: or https:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let header = "headers.authorization = { file = \"...\", prefix = \"Basic \" }";
            return Err(format!("url has a user or a password; use {header}"));
        }
        if headers.len() > HEADERS_MAX {
            return Err(format!("there are {} headers; the limit is {HEADERS_MAX}", headers.len()));
        }
        let headers = headers.into_iter().map(|(name, value)| {
            let known = name.to_ascii_lowercase();
            if OWN_HEADERS.contains(&&*known) {
                return Err(format!("headers.{name}: the relay sets this header itself"));
            }
            let named = HeaderName::try_from(known)
                .map_err(|_| format!("headers.{name}: this is no name of a header"))?;
            if let HeaderText::Text(text) = &value {
                header(text).ok_or_else(|| format!("headers.{name}: {NO_VALUE}"))?;
            }
            Ok((named, value))
        });
        let headers = headers.collect::<Result<_, _>>()?;
        let silence_max = duration("silence-max", silence_max, SILENCE)?;
        Ok(Self { url, headers, ca_file, silence_max })
    }

    /// Makes a client, with what the files hold now.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold what it should.
    pub(crate) async fn connect(&self) -> Result<HttpSession, Failure> {
        let remote = self.clone();
        let made = tokio::task::spawn_blocking(move || remote.session()).await;
        made.map_err(|error| Failure::Away(error.to_string()))?.map_err(Failure::Refused)
    }

    fn session(&self) -> Result<HttpSession, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let text = match value {
                HeaderText::Text(text) => text.clone(),
                HeaderText::File(Secret { file, prefix }) => {
                    let text = String::from_utf8(read(file)?);
                    let text = text.map_err(|_| format!("{} is not UTF-8", file.display()))?;
                    format!("{prefix}{}", text.trim())
                }
            };
            let value = header(&text).ok_or_else(|| format!("headers.{name}: {NO_VALUE}"))?;
            headers.insert(name, value);
        }
        let client = self.client().map_err(|error| format!("TLS cannot be set up: {error}"))?;
        Ok(HttpSession { client, url: self.url.clone(), headers, silence_max: self.silence_max })
    }

    fn client(&self) -> Result<Client, String> {
        let builder = || client(self.silence_max);
        let text = |error: reqwest::Error| reason(&error);
        let own = match &self.ca_file {
            None => None,
            Some(path) => {
                let certificates = Certificate::from_pem_bundle(&read(path)?);
                let certificates = certificates.ok().filter(|found| !found.is_empty());
                let none = || format!("ca-file {} has no certificate in PEM", path.display());
                Some(certificates.ok_or_else(none)?)
            }
        };
        // A host may have no certificate authorities, and a server in clear or with `ca-file` needs none.
        match own {
            Some(own) => match builder().tls_certs_merge(own.clone()).build() {
                Err(_) => builder().tls_certs_only(own).build().map_err(text),
                built => built.map_err(text),
            },
            None => match builder().build() {
                Err(_) if self.url.scheme() == "http" => {
                    builder().tls_certs_only(iter::empty()).build().map_err(text)
                }
                built => built.map_err(text),
            },
        }
    }
}

const NO_VALUE: &str = "the value has characters that no header may have";

fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let mut bytes = Vec::new();
    let taken = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    taken.map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{name} has more than {FILE_BYTES_MAX} bytes, the limit"));
    }
    Ok(bytes)
}

fn client(silence_max: Duration) -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_MAX)
        .read_timeout(silence_max)
        .tcp_nodelay(true)
}

/// Reads a duration such as `5m`, within bounds.
///
/// # Errors
/// The mistake, with the name of the setting, its value and its limits.
pub(crate) fn duration(
    name: &str,
    text: &str,
    [least, most]: [Duration; 2],
) -> Result<Duration, String> {
    let read = humantime::parse_duration(text);
    let read = read.map_err(|error| format!("{name} = {text:?}: {error}"))?;
    if read < least || read > most {
        let [least, most] = [least, most].map(humantime::format_duration);
        return Err(format!("{name} = {text:?}; it must be {least} to {most}"));
    }
    Ok(read)
}

/// A client with the headers of this time.
#[derive(Debug)]
pub(crate) struct HttpSession {
    client: Client,
    url: Url,
    headers: HeaderMap,
    silence_max: Duration,
}

impl HttpSession {
    /// Sends a GET and returns the answer when its head is there. Follows redirects; the configured headers, which may be
    /// credentials, go only to the server that they were configured for. The last id of the copy may stand in the query.
    ///
    /// # Errors
    /// The server does not answer, or its status is neither 2xx nor 304.
    pub(crate) async fn get(
        &self,
        own: &HeaderMap,
        query: Option<(&str, &str)>,
        pause: &Pause,
    ) -> Result<Response, Failure> {
        let (mut url, mut is_at_home) = (self.url.clone(), true);
        if let Some((name, value)) = query {
            set_query(&mut url, name, value);
        }
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.client.get(url.clone()).headers(own.clone());
            if is_at_home {
                request = request.headers(self.headers.clone());
            }
            let response = request.send().await.map_err(|error| self.failure(error))?;
            let Some(next) = redirected(&url, &response)? else {
                return check(response, pause);
            };
            is_at_home &= next.origin() == self.url.origin();
            url = next;
        }
        Err(Failure::Refused(format!("there are more than {REDIRECTS_MAX} redirects, the limit")))
    }

    /// The failure that an error of the connection is.
    pub(crate) fn failure(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if error.is_timeout() && !error.is_connect() {
            let silence = humantime::format_duration(self.silence_max);
            return Failure::Away(format!("the server has sent nothing for {silence}"));
        }
        Failure::Away(reason(&error))
    }
}

/// The error with its causes, which say more than it does.
fn reason(error: &reqwest::Error) -> String {
    let causes = iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn set_query(url: &mut Url, name: &str, value: &str) {
    let others: Vec<_> = url
        .query_pairs()
        .filter(|(known, _)| known != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
}

/// The URL that an answer leads to, if it is a redirect.
fn redirected(from: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    let status = response.status();
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    let place = place.and_then(|place| from.join(place).ok());
    match place.filter(|place| ["http", "https"].contains(&place.scheme())) {
        Some(place) => Ok(Some(place)),
        None => Err(Failure::Refused(format!("the server answers {status} without a place"))),
    }
}

fn check(response: Response, pause: &Pause) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        let encoding = response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        return match encoding {
            None | Some(b"identity") => Ok(response),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                Err(Failure::Refused(format!("the answer is encoded ({other}), unasked")))
            }
        };
    }
    if let Some(wait) = response.headers().get(RETRY_AFTER).and_then(retry_after) {
        pause.ask(wait);
    }
    let is_temporary = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let text = format!("the server answers {status}");
    Err(if is_temporary { Failure::Away(text) } else { Failure::Refused(text) })
}

/// The time that a `Retry-After` asks to wait: seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

/// The media type of an answer, in small letters and without parameters.
pub(crate) fn media_type(response: &Response) -> String {
    let value = response.headers().get(reqwest::header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
