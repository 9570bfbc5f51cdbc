//! The kind `nats`: a stream of JetStream.
//!
//! The server is asked for the messages after our own place and for nothing else: it forgets acknowledgements in a crash, and
//! delivers again by expiry, not by sequence. A consumer lives as long as one reading; nothing is acknowledged.
//!
//! A message's place is its sequence. A stream numbers from 1 again when it is made again, and numbers
//! a second time what it lost in a crash: `origin.rs` recognises both at each opening.

mod origin;
mod reading;
mod stream;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use async_nats::ServerAddr;
use async_trait::async_trait;
use serde::Deserialize;

use self::stream::StreamSource;
use crate::begin::Begin;
use crate::copying::Copying;
use crate::kind::Kind;
use crate::source::Source;
use crate::template::Template;

/// The table `nats` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NatsSettings {
    servers: Vec<String>,
    stream: String,
    #[serde(default)]
    subjects: Vec<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    credentials_file: Option<PathBuf>,
    #[serde(default)]
    tls: bool,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    begin: Begin,
    type_header: Option<String>,
}

/// A stream of JetStream, and the way to it.
#[derive(Debug, Clone)]
struct Nats {
    servers: Vec<ServerAddr>,
    stream: String,
    subjects: Vec<String>,
    login: Login,
    tls: bool,
    ca_file: Option<PathBuf>,
    begin: Begin,
    type_header: String,
    topic: Template,
}

/// The proof of who connects.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Login {
    None,
    Password { user: String, file: PathBuf },
    Token(PathBuf),
    Credentials(PathBuf),
}

/// Most servers that are named: the client learns the others of their cluster.
const SERVERS_MAX: usize = 16;
/// Most subjects of a source.
const SUBJECTS_MAX: usize = 64;
/// The header of a message that has its event's type, if the configuration names no other.
const TYPE_HEADER: &str = "Tailwater-Type";

impl crate::kind::Settings for NatsSettings {
    fn fields(&self) -> &'static [&'static str] {
        &["subject", "stream"]
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        if self.servers.is_empty() || self.servers.len() > SERVERS_MAX {
            let count = self.servers.len();
            return Err(format!(
                "nats.servers has {count} servers; it must have 1 to {SERVERS_MAX}"
            ));
        }
        let servers = self.servers.iter().map(|server| address(server));
        let servers = servers.collect::<Result<_, _>>()?;
        // Each has a meaning in the subjects by which the stream is asked.
        let is_name = |c: char| !c.is_whitespace() && !c.is_control() && !".*>/\\".contains(c);
        if self.stream.is_empty() || !self.stream.chars().all(is_name) {
            let stream = &self.stream;
            return Err(format!(
                "nats.stream = {stream:?}; a stream's name has no white space and none of . * > / \\"
            ));
        }
        if self.subjects.len() > SUBJECTS_MAX {
            let count = self.subjects.len();
            return Err(format!("nats.subjects has {count} subjects; the limit is {SUBJECTS_MAX}"));
        }
        let is_subject = |subject: &str| {
            subject.split('.').all(|token| {
                !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control())
            })
        };
        if let Some(bad) = self.subjects.iter().find(|subject| !is_subject(subject)) {
            return Err(format!(
                "nats.subjects has {bad:?}; a subject is words with dots between, without white space"
            ));
        }
        let type_header = self.type_header.clone().unwrap_or_else(|| TYPE_HEADER.to_owned());
        if type_header.is_empty() || !type_header.chars().all(|c| c.is_ascii_graphic() && c != ':')
        {
            return Err(format!(
                "nats.type-header = {type_header:?}; it must be visible ASCII characters without \":\""
            ));
        }
        Ok(Arc::new(Nats {
            servers,
            login: self.login()?,
            stream: self.stream,
            subjects: self.subjects,
            tls: self.tls || self.ca_file.is_some(),
            ca_file: self.ca_file,
            begin: self.begin,
            type_header,
            topic: copying.topic.clone(),
        }))
    }
}

impl NatsSettings {
    fn login(&self) -> Result<Login, String> {
        let given = (&self.user, &self.password_file, &self.token_file, &self.credentials_file);
        Ok(match given {
            (None, None, None, None) => Login::None,
            (Some(user), Some(file), None, None) => {
                Login::Password { user: user.clone(), file: file.clone() }
            }
            (None, None, Some(file), None) => Login::Token(file.clone()),
            (None, None, None, Some(file)) => Login::Credentials(file.clone()),
            _ => {
                return Err("nats has more than one of user with password-file, token-file and \
                            credentials-file, or a half of the first; it may have one"
                    .to_owned());
            }
        })
    }
}

fn address(server: &str) -> Result<ServerAddr, String> {
    let address: ServerAddr =
        server.parse().map_err(|error| format!("nats.servers has {server:?}: {error}"))?;
    if address.has_user_pass() {
        // The URL has a secret, so the message does not repeat it.
        return Err("nats.servers has a URL with a user; use user and password-file".to_owned());
    }
    if !matches!(address.scheme(), "nats" | "tls") {
        return Err(format!("nats.servers has {server:?}; it must begin with nats:// or tls://"));
    }
    Ok(address)
}

#[async_trait]
impl Kind for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        Box::new(StreamSource::new(Arc::new(self.clone())))
    }
}
