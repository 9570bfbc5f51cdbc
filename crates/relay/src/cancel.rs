//! `DELETE` of an answer: cancels the request to the upstream.

use std::sync::Arc;

use access::audit::{self, Action};
use access::{Denied, Grant, Page, Reason, Right};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use event_log::Topic;
use limits::Peer;

use crate::error::Refusal;
use crate::names::PREFIX;
use crate::orders;
use crate::shared::Shared;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The handler.
pub(crate) async fn cancel(State(relay): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let done = async {
        let topic = topic(&parts)?;
        permit(&relay, &parts, &topic).await?;
        relay.cancel(&topic).await
    };
    let mut response = match done.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    };
    let origin = parts.headers.get(ORIGIN).map(HeaderValue::as_bytes);
    relay.config.cors.grant(origin).put(response.headers_mut());
    response
}

impl Shared {
    /// Cancels an answer, wherever it runs. An answer that has ended stays as it is.
    pub(crate) async fn cancel(&self, topic: &Topic) -> Result<(), Refusal> {
        if self.running.cancel(topic) {
            return Ok(());
        }
        let bounds = self.log.bounds(topic).await?;
        match bounds {
            // An answer without its first event is known to its relay only.
            None => Err(Refusal::Unknown(topic.to_string())),
            Some(bounds) if bounds.ended => Ok(()),
            Some(_) => orders::give(&self.log, topic).await,
        }
    }
}

/// The topic that a query names.
fn topic(parts: &Parts) -> Result<Topic, Refusal> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let mut named = form_urlencoded::parse(query).filter(|(name, _)| name == "topic");
    let (Some((_, name)), None) = (named.next(), named.next()) else {
        return Err(Refusal::NoTopic);
    };
    let topic = Topic::new(&name)?;
    if !name.starts_with(PREFIX) {
        return Err(Refusal::Unknown(name.into_owned()));
    }
    Ok(topic)
}

/// Checks that the party may end the topic.
async fn permit(relay: &Shared, parts: &Parts, topic: &Topic) -> Result<(), Refusal> {
    let access = &relay.config.access;
    let first = |name: HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
    let cookies: Vec<_> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let page = match relay.config.cors.trusts(first(ORIGIN), first(SEC_FETCH_SITE)) {
        true => Page::Allowed,
        false => Page::Foreign,
    };
    let credentials = access.credentials(first(AUTHORIZATION), &cookies, None, page);
    let peer = parts.extensions.get::<Peer>().map_or_else(String::new, |p| p.address.to_string());
    let refused = |grant: Option<&Grant>, denied: Denied| {
        // The name of an answer is a secret, so the audit does not have it.
        audit::refused(Action::End, grant, PREFIX, denied.reason, &peer);
        match denied.reason {
            Reason::Topic => Refusal::forbidden(topic),
            _ => denied.into(),
        }
    };
    let grant = access.admit(&credentials).await.map_err(|denied| refused(None, denied))?;
    let checked = grant.check(Right::End, topic.as_str());
    checked.map_err(|denied| {
        access.count(denied.reason);
        refused(Some(&grant), denied)
    })?;
    if !access.is_open() {
        audit::allowed(Action::End, &grant, PREFIX, &peer);
    }
    Ok(())
}
