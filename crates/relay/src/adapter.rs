//! The ways of clients to resume an answer, besides `Location`.
//!
//! An adapter translates: a name that its client knows stands for a topic, in the ledger that all relays share,
//! and a request to resume becomes a subscription to this topic. Names belong to the credentials of the request
//! that they came with, so that nobody else finds an answer by them.

mod ai_sdk;
mod openai;

use std::str::FromStr;
use std::sync::Arc;

use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use event_log::{Log, Topic};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys::credentials;
use crate::ledger::{Digest, Ledger};
use crate::observer::Observe;
use crate::outcome::Way;
use crate::relay::Shared;
use crate::whole::Whole;

/// A way to resume, for the requests to a path and below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    kind: Kind,
    /// Without a slash at its end.
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `responses.retrieve(id, stream=True, starting_after=N)` of the OpenAI clients.
    OpenAi,
    /// `useChat({ resume: true })` of the AI SDK.
    AiSdk,
}

/// A text that names no adapter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAdapter {
    /// There is no such adapter.
    #[error("{0:?} is no adapter; there are openai and ai-sdk")]
    Unknown(String),
    /// The path is none.
    #[error("the path {0:?} of an adapter must begin with a slash, and have no query")]
    Path(String),
}

/// The topic that a name stands for.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    topic: String,
}

impl FromStr for Adapter {
    type Err = BadAdapter;

    fn from_str(text: &str) -> Result<Self, BadAdapter> {
        let (name, path) = text.split_once('=').unwrap_or((text, ""));
        let (kind, usual) = match name {
            "openai" => (Kind::OpenAi, "/v1/responses"),
            "ai-sdk" => (Kind::AiSdk, "/api/chat"),
            _ => return Err(BadAdapter::Unknown(name.to_owned())),
        };
        let path = if path.is_empty() { usual } else { path };
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(BadAdapter::Path(path.to_owned()));
        }
        Ok(Self { kind, path: path.trim_end_matches('/').to_owned() })
    }
}

impl Adapter {
    /// The rest of a request's path below that of the adapter: empty, or with a slash at its beginning.
    fn below<'a>(&self, parts: &'a Parts) -> Option<&'a str> {
        let rest = parts.uri.path().strip_prefix(&self.path)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Returns true for a request that begins an answer.
    fn begins(&self, parts: &Parts) -> bool {
        parts.method == Method::POST && self.below(parts) == Some("")
    }

    /// The names of the party that has sent a request.
    fn names(&self, relay: &Shared, parts: &Parts) -> Names {
        let kind = match self.kind {
            Kind::OpenAi => "openai",
            Kind::AiSdk => "ai-sdk",
        };
        let owner = Digest::of(credentials(parts).chain([self.path.as_bytes()]));
        Names { log: Arc::clone(&relay.log), kind, owner }
    }
}

/// The names that one party knows.
#[derive(Debug, Clone)]
struct Names {
    log: Arc<dyn Log>,
    kind: &'static str,
    owner: Digest,
}

impl Names {
    /// The entries of a name.
    fn ledger(&self, name: &str) -> Ledger {
        let name = Digest::of([self.owner.as_str().as_bytes(), name.as_bytes()]);
        Ledger::new(&self.log, self.kind, &name)
    }

    /// Returns the topic that a name stands for.
    async fn topic(&self, name: &str) -> Result<Option<Topic>, Error> {
        let named = self.ledger(name).newest::<Named>().await?.entry;
        Ok(named.and_then(|named| Topic::new(&named.topic).ok()))
    }

    /// Notes the topic that a name stands for from now on. An answer whose name cannot be noted is one that cannot
    /// be resumed in this way.
    async fn note(&self, name: &str, topic: &Topic) {
        let ledger = self.ledger(name);
        let noted = async {
            let newest = ledger.newest::<Named>().await?;
            ledger.append_after(newest.at.n, &Named { topic: topic.to_string() }).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "the name of an answer is not noted");
        }
    }
}

impl Shared {
    /// Answers a request of an adapter's client that resumes or stops an answer. `None` is any other request.
    pub(crate) async fn adapted(&self, parts: &Parts) -> Result<Option<(Way, Response)>, Error> {
        for adapter in &self.config.adapters {
            let Some(rest) = adapter.below(parts) else { continue };
            let response = match adapter.kind {
                Kind::OpenAi => self.openai(adapter, parts, rest).await?,
                Kind::AiSdk => self.ai_sdk(adapter, parts, rest).await?,
            };
            if let Some(response) = response {
                return Ok(Some((Way::Resumed, response)));
            }
        }
        Ok(None)
    }

    /// Returns true if an adapter looks into the body of a request.
    pub(crate) fn looks_into(&self, parts: &Parts) -> bool {
        let mut adapters = self.config.adapters.iter();
        adapters.any(|adapter| adapter.kind == Kind::AiSdk && adapter.begins(parts))
    }

    /// Returns the parties that note the names of an answer. `body` is there if an adapter looks into it.
    pub(crate) fn namers(&self, parts: &Parts, body: Option<&Whole>) -> Vec<Box<dyn Observe>> {
        let adapters = self.config.adapters.iter().filter(|adapter| adapter.begins(parts));
        let namers = adapters.filter_map(|adapter| match adapter.kind {
            Kind::OpenAi => Some(openai::namer(adapter, self, parts)),
            Kind::AiSdk => ai_sdk::namer(adapter, self, parts, body?),
        });
        namers.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_has_a_usual_path_or_its_own() {
        let path = |text: &str| Adapter::from_str(text).map(|adapter| adapter.path);
        assert_eq!(path("openai").unwrap(), "/v1/responses");
        assert_eq!(path("ai-sdk=/chat/").unwrap(), "/chat");
        assert_eq!(path("openai=v1"), Err(BadAdapter::Path("v1".to_owned())));
        assert_eq!(path("other"), Err(BadAdapter::Unknown("other".to_owned())));
    }
}
