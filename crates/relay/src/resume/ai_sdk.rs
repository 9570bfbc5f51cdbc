//! The AI SDK: `useChat({ resume: true })` asks `GET <path>/<chat>/stream` when its page is loaded, and gets the
//! running answer from its beginning, or 204 if none runs. `DELETE` of the same path stops it.
//!
//! The chat is the `id` in the body of the request. A page that is closed is a caller that has left, never an order
//! to cancel.

use async_trait::async_trait;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use event_log::Topic;
use serde::Deserialize;

use super::Names;
use crate::adapter::Adapter;
use crate::error::Refusal;
use crate::observer::Observe;
use crate::shared::Shared;
use crate::whole::Whole;

/// The part of a request that counts.
#[derive(Debug, Deserialize)]
struct Chat {
    id: String,
}

/// The header that says which stream this is.
const PROTOCOL: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-vercel-ai-ui-message-stream"), HeaderValue::from_static("v1"));

/// Notes the answer of a chat.
struct ChatNamer {
    names: Names,
    chat: String,
}

pub(super) fn namer(
    adapter: &Adapter,
    relay: &Shared,
    parts: &Parts,
    body: &Whole,
) -> Option<Box<dyn Observe>> {
    let Chat { id } = serde_json::from_slice(&body.bytes()).ok()?;
    Some(Box::new(ChatNamer { names: Names::of(adapter, relay, parts), chat: id }))
}

#[async_trait]
impl Observe for ChatNamer {
    async fn begun(&mut self, topic: &Topic) {
        self.names.note(&self.chat, topic).await;
    }
}

impl Shared {
    /// Answers a request about the running answer of a chat.
    pub(super) async fn ai_sdk(
        &self,
        adapter: &Adapter,
        parts: &Parts,
        rest: &str,
    ) -> Result<Option<Response>, Refusal> {
        let chat = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix("/stream"));
        let Some(chat) = chat.filter(|chat| !chat.contains('/')) else { return Ok(None) };
        if !matches!(parts.method, Method::GET | Method::DELETE) {
            return Ok(None);
        }
        let nothing = || Some(StatusCode::NO_CONTENT.into_response());
        let Some(topic) = Names::of(adapter, self, parts).topic(chat).await? else {
            return Ok(nothing());
        };
        if self.log.bounds(&topic).await?.is_some_and(|bounds| bounds.ended) {
            return Ok(nothing());
        }
        if parts.method == Method::DELETE {
            self.cancel(&topic).await?;
            return Ok(nothing());
        }
        let mut response = self.gateway.subscribe(parts, &topic, None).await;
        response.headers_mut().extend([PROTOCOL]);
        Ok(Some(response))
    }
}
