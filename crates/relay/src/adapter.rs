//! The ways of clients to resume an answer, besides `Location`, as they are configured.

use std::str::FromStr;

use axum::http::Method;
use axum::http::request::Parts;

/// A way to resume, for the requests to a path and below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    pub(crate) kind: Kind,
    /// Without a slash at its end.
    pub(crate) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `responses.retrieve(id, stream=True, starting_after=N)` of the OpenAI clients.
    OpenAi,
    /// `useChat({ resume: true })` of the AI SDK.
    AiSdk,
    /// Runs of LangGraph's SDK, which reconnect by the `Location` of the upstream.
    LangGraph,
}

/// A text that names no adapter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAdapter {
    /// There is no such adapter.
    #[error("{0:?} is no adapter; there are openai, ai-sdk and langgraph")]
    Unknown(String),
    /// The path is none.
    #[error("the path {0:?} of an adapter must begin with a slash, and have no query")]
    Path(String),
}

impl FromStr for Adapter {
    type Err = BadAdapter;

    fn from_str(text: &str) -> Result<Self, BadAdapter> {
        let (name, path) = text.split_once('=').unwrap_or((text, ""));
        let (kind, usual) = match name {
            "openai" => (Kind::OpenAi, "/v1/responses"),
            "ai-sdk" => (Kind::AiSdk, "/api/chat"),
            "langgraph" => (Kind::LangGraph, "/threads"),
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
    pub(crate) fn below<'a>(&self, parts: &'a Parts) -> Option<&'a str> {
        let rest = parts.uri.path().strip_prefix(&self.path)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Returns true for a request that begins an answer.
    pub(crate) fn begins(&self, parts: &Parts) -> bool {
        let is_begin = |rest: &str| match self.kind {
            Kind::OpenAi | Kind::AiSdk => rest.is_empty(),
            Kind::LangGraph => rest.ends_with("/runs/stream"),
        };
        parts.method == Method::POST && self.below(parts).is_some_and(is_begin)
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
