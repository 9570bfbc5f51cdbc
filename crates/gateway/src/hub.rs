//! A Mercure hub: a second way to subscribe, to the topics of one space.
//!
//! The crate `mercure` knows the protocol. This module joins it to subscriptions: [`HubRequest`] is a request that the protocol has
//! parsed, [`permit`] decides about its token, and a [`Filter`] chooses the updates that its stream gets.
//!
//! Absent: active subscriptions.

mod filter;
mod permit;
mod refused;

use axum::http::{HeaderName, HeaderValue, header};
use event_log::{Log, LogName, Opened, Origin, Outcome, ReadError, Seek};
use mercure::{Cursor, Id, Settings, Subscription, discovery};

pub(crate) use filter::{Filter, frame, id_of};
pub(crate) use permit::{Lack, permit};
pub(crate) use refused::Refused;

/// The resource that clients of a hub subscribe to.
pub(crate) const PATH: &str = mercure::Hub::PATH;

/// A request to subscribe to a hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HubRequest {
    pub(crate) subscription: Subscription,
}

impl HubRequest {
    /// The place where the subscription begins. A publisher's id is looked up before an id is read as a position, since a publisher may
    /// bring one that looks like a position.
    pub(crate) async fn origin(&self, log: &dyn Log, name: &LogName) -> Result<Origin, ReadError> {
        let earliest = Origin::Seek(Seek::Earliest);
        Ok(match &self.subscription.cursor {
            None => Origin::Latest,
            // A client that has seen something should miss nothing, so it gets everything again.
            Some(Cursor::Earliest | Cursor::Unknown) => earliest,
            Some(Cursor::After(id)) => {
                let found = log.find(name, &id.label()).await?.or_else(|| id.position());
                found.map_or(earliest, |position| Origin::Resume(position.to_string()))
            }
        })
    }

    /// The client's cursor, for the log lines, if it is the id of an update: any other text may be a secret.
    pub(crate) fn brought(&self, outcome: Outcome) -> Option<String> {
        match &self.subscription.cursor {
            Some(Cursor::After(id)) if outcome != Outcome::Live => Some(id.to_string()),
            _ => None,
        }
    }

    /// The headers of the answer: the hub, and the update before the first one sent, if the client asked for a place.
    pub(crate) fn headers(
        &self,
        settings: &Settings,
        opened: &Opened,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let header = HeaderName::from_static(match self.subscription.dialect {
            mercure::Dialect::V0 => "last-event-id",
            mercure::Dialect::V1 => "mercure-last-event-id",
        });
        let before = self.subscription.names_cursor.then(|| self.before(opened));
        let before = before.map(|id| (header, id));
        let link = (header::LINK, discovery::link(&settings.hub, None));
        // An id may have characters beyond ASCII, which are bytes of a header like others.
        let value = |(name, text): (_, String)| {
            HeaderValue::from_bytes(text.as_bytes()).ok().map(|value| (name, value))
        };
        before.into_iter().chain([link]).filter_map(value)
    }

    /// The id of the update before the first one sent.
    fn before(&self, opened: &Opened) -> String {
        match (&self.subscription.cursor, opened.outcome) {
            (Some(Cursor::After(id)), Outcome::Exact) => id.to_string(),
            (None, _) => id_of(&opened.cursor.wire()).unwrap_or(Id::EARLIEST.to_owned()),
            _ => Id::EARLIEST.to_owned(),
        }
    }
}
