//! The ways of clients to resume an answer, besides `Location`.
//!
//! An adapter translates: a name that its client knows stands for a topic, in the ledger that all relays share,
//! and a request to resume becomes a subscription to this topic. Names belong to the credentials of the request
//! that they came with, so that nobody else finds an answer by them.

mod ai_sdk;
mod langgraph;
mod openai;

use std::sync::Arc;

use axum::http::request::Parts;
use axum::response::Response;
use event_log::{Log, Topic};
use serde::{Deserialize, Serialize};

use crate::adapter::{Adapter, Kind};
use crate::error::Refusal;
use crate::headers;
use crate::keys::credentials;
use crate::ledger::{Digest, Ledger};
use crate::observer::Observe;
use crate::outcome::Way;
use crate::shared::Shared;
use crate::whole::Whole;

/// The topic that a name stands for.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    topic: String,
}

/// The names that one party knows.
#[derive(Debug, Clone)]
struct Names {
    log: Arc<dyn Log>,
    kind: &'static str,
    owner: Digest,
}

impl Names {
    /// The names of the party that has sent a request.
    fn of(adapter: &Adapter, relay: &Shared, parts: &Parts) -> Self {
        let kind = match adapter.kind {
            Kind::OpenAi => "openai",
            Kind::AiSdk => "ai-sdk",
            Kind::LangGraph => "langgraph",
        };
        let owner = Digest::of(credentials(parts).chain([adapter.path.as_bytes()]));
        Self { log: Arc::clone(&relay.log), kind, owner }
    }

    /// The entries of a name.
    fn ledger(&self, name: &str) -> Ledger {
        let name = Digest::of([self.owner.as_str().as_bytes(), name.as_bytes()]);
        Ledger::new(&self.log, self.kind, &name)
    }

    /// Returns the topic that a name stands for.
    async fn topic(&self, name: &str) -> Result<Option<Topic>, Refusal> {
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
    pub(crate) async fn adapted(&self, parts: &Parts) -> Result<Option<(Way, Response)>, Refusal> {
        for adapter in &self.config.adapters {
            let Some(rest) = adapter.below(parts) else { continue };
            let response = match adapter.kind {
                Kind::OpenAi => self.openai(adapter, parts, rest).await?,
                Kind::AiSdk => self.ai_sdk(adapter, parts, rest).await?,
                Kind::LangGraph => self.langgraph(adapter, parts, rest).await?,
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

    /// Returns true if the caller of an answer is to get cursors as the ids of its events: the request says so, or its
    /// client goes on after the last id.
    pub(crate) fn gives_ids(&self, parts: &Parts) -> bool {
        let mut adapters = self.config.adapters.iter();
        parts.headers.get(headers::IDS).is_some_and(|value| value == "on")
            || adapters.any(|adapter| adapter.kind == Kind::LangGraph && adapter.begins(parts))
    }

    /// Returns the parties that note the names of an answer. `body` is there if an adapter looks into it.
    pub(crate) fn namers(&self, parts: &Parts, body: Option<&Whole>) -> Vec<Box<dyn Observe>> {
        let adapters = self.config.adapters.iter().filter(|adapter| adapter.begins(parts));
        let namers = adapters.filter_map(|adapter| match adapter.kind {
            Kind::OpenAi => Some(openai::namer(adapter, self, parts)),
            Kind::AiSdk => ai_sdk::namer(adapter, self, parts, body?),
            Kind::LangGraph => Some(langgraph::namer(adapter, self, parts)),
        });
        namers.collect()
    }
}
