//! The URL of Redis, in one of three shapes.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::address::Address;
use crate::credentials::{Credentials, Login};
use crate::tls::{BadTls, Tls, TlsFiles};

/// The address of Redis. It displays without passwords.
///
/// - `redis://[user[:password]@]host[:port]`: one server;
/// - `redis+sentinel://[user[:password]@]host[:port],host…/master`: the primary that sentinels name,
///   `?sentinel_user=&sentinel_password=` for the sentinels themselves;
/// - `redis+cluster://[user[:password]@]host[:port],host…`: a cluster, found by any of its nodes.
///
/// `rediss` connects over TLS; `?ca=FILE` names the authority to trust instead of the host's, and
/// `?cert=FILE&key=FILE` the certificate and the key to show to servers that demand one.
#[derive(Clone)]
pub struct RedisUrl {
    pub(crate) kind: Kind,
    pub(crate) seeds: Vec<Address>,
    pub(crate) credentials: Credentials,
    files: TlsFiles,
}

/// The shape of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Standalone,
    Sentinel { master: String },
    Cluster,
}

impl Kind {
    /// The mode in which every server of such a deployment runs.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self::Standalone | Self::Sentinel { .. } => "standalone",
            Self::Cluster => "cluster",
        }
    }

    /// Returns true if a server can become a replica and keep its connections and its clients. In a
    /// cluster a replica sends its clients away, to the primary.
    pub(crate) fn is_demotable(&self) -> bool {
        matches!(self, Self::Sentinel { .. })
    }

    fn scheme(&self) -> &'static str {
        match self {
            Self::Standalone => "",
            Self::Sentinel { .. } => "+sentinel",
            Self::Cluster => "+cluster",
        }
    }
}

/// The reason why a text is no URL of Redis. It never quotes the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It has none of the three forms.
    #[error(
        "a Redis URL is written redis://[user[:password]@]host[:port], \
         redis+sentinel://host[:port],host/master or redis+cluster://host[:port],host \
         (rediss for TLS): {0}"
    )]
    Malformed(&'static str),
    /// It asks for a Unix socket.
    #[error("only TCP is supported")]
    Transport,
    /// It names a database.
    #[error("database {0} cannot be used, only 0: a published message reaches all databases")]
    Database(i64),
    /// It has a parameter that is unknown, or not for this kind of URL.
    #[error("the URL's parameter {0:?} is not known, or not for this kind of URL")]
    Parameter(String),
    /// It has a password, and there is another one for it.
    #[error("the URL has a password already")]
    SecondPassword,
    /// It names a certificate without its key, or a key without its certificate.
    #[error("the URL's parameters cert and key need each other")]
    HalfIdentity,
    /// The trusted authorities, or the own certificate, cannot be loaded.
    #[error(transparent)]
    Tls(#[from] BadTls),
}

/// The parameters of a URL.
#[derive(Default)]
struct Parameters {
    files: TlsFiles,
    sentinels: Login,
}

impl RedisUrl {
    /// Adds the password of the login.
    ///
    /// # Errors
    /// The URL has one already.
    pub fn with_password(mut self, password: String) -> Result<Self, BadUrl> {
        if self.credentials.login.password.is_some() {
            return Err(BadUrl::SecondPassword);
        }
        self.credentials.login.password = Some(password);
        Ok(self)
    }

    /// The files that the URL names: the authority, the certificate, the key.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.paths()
    }
}

impl FromStr for RedisUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Malformed("it has no scheme"))?;
        let (transport, shape) = scheme.split_once('+').unwrap_or((scheme, ""));
        let encrypted = match transport {
            "redis" => false,
            "rediss" => true,
            "unix" => return Err(BadUrl::Transport),
            _ => return Err(BadUrl::Malformed("its scheme is unknown")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let parameters = parameters(query, encrypted, shape == "sentinel")?;
        let (kind, port) = match shape {
            "" | "cluster" => {
                database(path)?;
                (if shape.is_empty() { Kind::Standalone } else { Kind::Cluster }, 6379)
            }
            "sentinel" => {
                let master = decoded(path)?.into_owned();
                if master.is_empty() {
                    return Err(BadUrl::Malformed("it names no master after the sentinels"));
                }
                (Kind::Sentinel { master }, 26379)
            }
            "unix" => return Err(BadUrl::Transport),
            _ => return Err(BadUrl::Malformed("its scheme is unknown")),
        };
        let seeds: Option<Vec<_>> =
            hosts.split(',').map(|host| Address::parse(host, port)).collect();
        let seeds = seeds.ok_or(BadUrl::Malformed("a host or a port in it is not valid"))?;
        if kind == Kind::Standalone && seeds.len() > 1 {
            return Err(BadUrl::Malformed(
                "it names several hosts, but neither sentinels nor a cluster",
            ));
        }
        let Parameters { files, sentinels } = parameters;
        let tls = encrypted.then(|| Tls::new(&files)).transpose()?;
        let credentials = Credentials { login: self::login(login)?, sentinels, tls };
        Ok(Self { kind, seeds, credentials, files })
    }
}

fn login(text: &str) -> Result<Login, BadUrl> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(decoded(password)?.into_owned())),
        None => (text, None),
    };
    let user = Some(decoded(user)?.into_owned()).filter(|user| !user.is_empty());
    Ok(Login { user, password: password.filter(|password| !password.is_empty()) })
}

fn parameters(query: &str, encrypted: bool, sentinel: bool) -> Result<Parameters, BadUrl> {
    let mut parameters = Parameters::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "ca" if encrypted => parameters.files.ca = Some(value.into()),
            "cert" if encrypted => parameters.files.cert = Some(value.into()),
            "key" if encrypted => parameters.files.key = Some(value.into()),
            "sentinel_user" if sentinel => parameters.sentinels.user = Some(value),
            "sentinel_password" if sentinel => parameters.sentinels.password = Some(value),
            _ => return Err(BadUrl::Parameter(name.into_owned())),
        }
    }
    match parameters.files.is_half() {
        true => Err(BadUrl::HalfIdentity),
        false => Ok(parameters),
    }
}

fn database(path: &str) -> Result<(), BadUrl> {
    match path {
        "" | "0" => Ok(()),
        _ => Err(match path.parse() {
            Ok(database) => BadUrl::Database(database),
            Err(_) => BadUrl::Malformed("its path is not a database number"),
        }),
    }
}

fn decoded(text: &str) -> Result<Cow<'_, str>, BadUrl> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| BadUrl::Malformed("its percent-encoded text is not UTF-8"))
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credentials { login, tls, .. } = &self.credentials;
        let secure = if tls.is_some() { "s" } else { "" };
        write!(f, "redis{secure}{}://", self.kind.scheme())?;
        let user = login.user.as_deref().unwrap_or_default();
        match &login.password {
            Some(_) => write!(f, "{user}:***@")?,
            None if user.is_empty() => {}
            None => write!(f, "{user}@")?,
        }
        for (i, seed) in self.seeds.iter().enumerate() {
            write!(f, "{}{seed}", if i > 0 { "," } else { "" })?;
        }
        match &self.kind {
            Kind::Sentinel { master } => write!(f, "/{master}"),
            Kind::Standalone | Kind::Cluster => Ok(()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, BadUrl> {
        text.parse::<RedisUrl>().map(|url| url.to_string())
    }

    #[test]
    fn passwords_are_never_shown() {
        for (text, expected) in [
            ("redis://me:s3cret@cache:7000/0", "redis://me:***@cache:7000"),
            ("redis://:s3cret@cache", "redis://:***@cache:6379"),
            ("redis://127.0.0.1", "redis://127.0.0.1:6379"),
            ("redis://me@[::1]", "redis://me@[::1]:6379"),
            ("redis+cluster://me:s3cret@a,b:7001", "redis+cluster://me:***@a:6379,b:7001"),
            (
                "redis+sentinel://me:s3cret@a,b:7/main?sentinel_user=x&sentinel_password=s3cret",
                "redis+sentinel://me:***@a:26379,b:7/main",
            ),
        ] {
            assert_eq!(shown(text), Ok(expected.to_owned()));
            let debug = format!("{:?}", crate::Config::new(text.parse().unwrap()));
            assert!(!debug.contains("s3cret"), "{debug}");
        }
    }

    #[test]
    fn a_password_beside_the_url_is_used_and_never_shown() {
        let url =
            |text: &str| text.parse::<RedisUrl>().unwrap().with_password("s3:cr%t".to_owned());
        assert_eq!(url("redis://me@cache").unwrap().to_string(), "redis://me:***@cache:6379");
        assert_eq!(
            url("redis://cache").unwrap().credentials.login.password.as_deref(),
            Some("s3:cr%t")
        );
        assert_eq!(url("redis://me:x@cache").unwrap_err(), BadUrl::SecondPassword);
    }

    #[test]
    fn percent_encoded_parts_are_decoded() {
        let url: RedisUrl =
            "redis+sentinel://m%40e:p%2Fw%3A@a/ma%20in?sentinel_password=a%26b".parse().unwrap();
        let login = |user: Option<&str>, password: &str| Login {
            user: user.map(str::to_owned),
            password: Some(password.to_owned()),
        };
        assert_eq!(url.credentials.login, login(Some("m@e"), "p/w:"));
        assert_eq!(url.credentials.sentinels, login(None, "a&b"));
        assert_eq!(url.kind, Kind::Sentinel { master: "ma in".to_owned() });
    }

    #[test]
    fn a_url_that_would_not_work_is_refused() {
        assert_eq!(shown("redis://cache/2"), Err(BadUrl::Database(2)));
        assert_eq!(shown("redis+cluster://cache/2"), Err(BadUrl::Database(2)));
        assert_eq!(shown("unix:///run/redis.sock"), Err(BadUrl::Transport));
        assert_eq!(shown("redis://cache?ca=x"), Err(BadUrl::Parameter("ca".into())));
        let file = "rediss://cache?ca=/nowhere/ca.pem".parse::<RedisUrl>().unwrap_err();
        assert!(matches!(file, BadUrl::Tls(_)), "{file}");
        assert!(file.to_string().contains("/nowhere/ca.pem"), "{file}");
        assert_eq!(shown("rediss://cache?cert=x"), Err(BadUrl::HalfIdentity));
        assert_eq!(shown("rediss://cache?key=x"), Err(BadUrl::HalfIdentity));
        for text in [
            "",
            "cache:6379",
            "http://cache",
            "redis+ring://u:s3cret@cache",
            "redis://",
            "redis://u:s3cret@",
            "redis://u:s3cret@a,b",
            "redis://u:s3cret@a b",
            "redis+sentinel://u:s3cret@a",
            "redis+sentinel://u:s3cret@a/",
            "redis+cluster://u:s3cret@a,,b",
            "redis+cluster://u:s3cret@a/x",
        ] {
            let error = shown(text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
