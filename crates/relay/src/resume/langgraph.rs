//! LangGraph's SDK: the answer to a run has a `Location`, `/threads/THREAD/runs/RUN/stream`, from which the SDK reads on
//! with the id of the last event that it has. So the caller of a run gets cursors as ids, and that path has the rest.
//!
//! After the end of a stream the SDK asks the upstream for the state of the run.

use async_trait::async_trait;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use event_log::Topic;

use super::Names;
use crate::adapter::Adapter;
use crate::error::Refusal;
use crate::observer::Observe;
use crate::shared::Shared;

/// Notes the path of a run.
struct RunNamer {
    names: Names,
    path: Option<String>,
}

pub(super) fn namer(adapter: &Adapter, relay: &Shared, parts: &Parts) -> Box<dyn Observe> {
    Box::new(RunNamer { names: Names::of(adapter, relay, parts), path: None })
}

#[async_trait]
impl Observe for RunNamer {
    fn head(&mut self, headers: &HeaderMap) {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        self.path = location.map(|location| path(location).to_owned());
    }

    async fn begun(&mut self, topic: &Topic) {
        if let Some(path) = &self.path {
            self.names.note(path, topic).await;
        }
    }
}

impl Shared {
    /// Answers with the rest of a run that is stored.
    pub(super) async fn langgraph(
        &self,
        adapter: &Adapter,
        parts: &Parts,
        rest: &str,
    ) -> Result<Option<Response>, Refusal> {
        if parts.method != Method::GET || !rest.ends_with("/stream") {
            return Ok(None);
        }
        let names = Names::of(adapter, self, parts);
        let Some(topic) = names.topic(parts.uri.path()).await? else { return Ok(None) };
        Ok(Some(self.gateway.subscribe(parts, &topic, None).await))
    }
}

/// The path of a location, which may be a whole URL and have a query.
fn path(location: &str) -> &str {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let host = path.split_once("://").map(|(_, rest)| rest);
    host.map_or(path, |rest| rest.find('/').map_or("/", |at| &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_has_a_path() {
        for location in ["/threads/t/runs/r/stream?x=1", "https://h:1/threads/t/runs/r/stream"] {
            assert_eq!(path(location), "/threads/t/runs/r/stream");
        }
        assert_eq!(path("http://h"), "/");
    }
}
