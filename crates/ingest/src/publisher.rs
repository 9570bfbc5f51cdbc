//! The party that publishes: the client that limits count, and its rights.

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use access::audit::{self, Action};
use access::{Access, Denied, Grant, Page, Reason, Revocation, Right};
use aws_lc_rs::digest::{Context, SHA256};
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, ORIGIN};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_log::{Append, Key, LogName, Mark, Topic};
use limits::{Client, Peer};
use tokio::time::sleep;

use crate::error::{Code, Error};
use crate::{Config, client};

/// The party that publishes.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) grant: Arc<Grant>,
    access: Access,
    /// The thing that it asked for.
    action: Action,
    peer: Address,
}

/// The address from which a request came, for the audit; nothing if the server told none.
#[derive(Debug, Clone, Copy)]
struct Address(Option<SocketAddr>);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Publisher {
    /// Decides who sends a request.
    ///
    /// # Errors
    /// Its credentials are refused.
    pub(crate) async fn admit(
        parts: &Parts,
        config: &Config,
        action: Action,
    ) -> Result<Self, Error> {
        let peer = Address(parts.extensions.get::<Peer>().map(|peer| peer.address));
        let client = client::of(parts, &config.rules);
        let access = config.access.clone();
        if access.is_open() {
            return Ok(Self { client, grant: access.of_everybody(), access, action, peer });
        }
        let cookies = cookies(parts);
        let credentials =
            access.credentials(first(parts, AUTHORIZATION), &cookies, None, page(parts, config));
        match access.admit(&credentials).await {
            Ok(grant) => Ok(Self { client, grant, access, action, peer }),
            Err(denied) => {
                audit::refused(action, None, "", denied.reason, peer);
                Err(denied.into())
            }
        }
    }

    /// The party of a request whose credentials another protocol has read.
    pub(crate) fn of(parts: &Parts, config: &Config, grant: Arc<Grant>) -> Self {
        let peer = Address(parts.extensions.get::<Peer>().map(|peer| peer.address));
        let client = client::of(parts, &config.rules);
        Self { client, grant, access: config.access.clone(), action: Action::Publish, peer }
    }

    /// The party with more rights, which another protocol has given to it.
    pub(crate) fn with_grant(self, grant: Arc<Grant>) -> Self {
        Self { grant, ..self }
    }

    /// Records that the party was refused, and counts it.
    pub(crate) fn refused(&self, reason: Reason, topic: &str) {
        self.access.count(reason);
        self.audit(reason, topic);
    }

    /// Records a refusal that was counted where it was decided.
    pub(crate) fn audit(&self, reason: Reason, topic: &str) {
        audit::refused(self.action, Some(&self.grant), topic, reason, self.peer);
    }

    /// Checks that the party may do this with a topic, or with all topics of a space.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check(&self, right: Right, topic: &LogName) -> Result<(), Error> {
        let Err(denied) = self.grant.check(right, topic.as_str()) else { return Ok(()) };
        self.access.count(denied.reason);
        let action = match right {
            Right::Subscribe | Right::Presence => Action::Describe,
            Right::Publish => Action::Publish,
            Right::End => Action::End,
        };
        audit::refused(action, Some(&self.grant), topic, denied.reason, self.peer);
        Err(match denied.reason {
            Reason::Topic => forbidden(topic, right),
            _ => denied.into(),
        })
    }

    /// Checks that the party may publish to some topic, or end one: for a body whose events name their topics.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_some(&self) -> Result<(), Error> {
        let lacks = |right| self.grant.check_some(right).err();
        let (Some(denied), Some(_)) = (lacks(Right::Publish), lacks(Right::End)) else {
            return Ok(());
        };
        self.access.count(denied.reason);
        audit::refused(self.action, Some(&self.grant), "", denied.reason, self.peer);
        Err(denied.into())
    }

    /// Checks an event, and gives it a key that no other party can have.
    ///
    /// # Errors
    /// The party may not publish to the topic, or not end it.
    pub(crate) fn take(&self, mut append: Append) -> Result<Append, Error> {
        if append.event.mark != Mark::End {
            self.check(Right::Publish, &append.topic)?;
        }
        if append.event.mark.ends() {
            self.check(Right::End, &append.topic)?;
        }
        if !self.access.is_open() {
            append.key = append.key.map(|key| self.own(&key));
        }
        Ok(append)
    }

    /// Records what was published.
    pub(crate) fn record(&self, topic: &Topic, is_end: bool) {
        if !self.access.is_open() {
            let action = if is_end { Action::End } else { Action::Publish };
            audit::allowed(action, &self.grant, topic, self.peer);
        }
    }

    /// Records that the party did with a topic what it asked for.
    pub(crate) fn record_asked(&self, topic: &Topic) {
        if !self.access.is_open() {
            audit::allowed(self.action, &self.grant, topic, self.peer);
        }
    }

    /// Records that the party took a right back.
    pub(crate) fn record_revocation(&self, revocation: &Revocation) {
        audit::allowed(Action::Revoke, &self.grant, revocation, self.peer);
    }

    /// Returns the error of a party whose right has ended since it was let in.
    pub(crate) fn over(&self) -> Option<Error> {
        let principal = self.grant.principal();
        if principal.is_over() {
            return Some(self.ended(Reason::Expired));
        }
        let is_revoked = self.access.revocations().concern(principal);
        is_revoked.then(|| self.ended(Reason::Revoked))
    }

    /// Waits for the party, but not beyond its right. `wait` is dropped then.
    ///
    /// # Errors
    /// The right has ended.
    pub(crate) async fn within<T>(&self, wait: impl Future<Output = T>) -> Result<T, Error> {
        let end = async {
            match self.grant.principal().left() {
                Some(left) => sleep(left).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            done = wait => Ok(done),
            () = end => Err(self.ended(Reason::Expired)),
        }
    }

    /// Checks that the party may revoke the rights of others.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_admin(&self) -> Result<(), Error> {
        let Err(denied) = self.grant.check_admin() else { return Ok(()) };
        self.access.count(denied.reason);
        audit::refused(self.action, Some(&self.grant), "", denied.reason, self.peer);
        Err(match denied.reason {
            Reason::Topic => {
                Error::new(Code::Forbidden, "revoking needs a token with the right \"admin\": true")
            }
            _ => denied.into(),
        })
    }

    fn ended(&self, reason: Reason) -> Error {
        self.access.count(reason);
        audit::refused(self.action, Some(&self.grant), "", reason, self.peer);
        Denied { reason, carrier: self.grant.carrier() }.into()
    }

    /// A party's own key: two parties that choose the same text do not silence each other. Those without
    /// credentials are one party, whose name is empty; no other's is.
    fn own(&self, key: &Key) -> Key {
        let subject = self.grant.principal().subject().unwrap_or_default();
        let mut hash = Context::new(&SHA256);
        hash.update(&(subject.len() as u64).to_le_bytes());
        hash.update(subject.as_bytes());
        hash.update(key.as_str().as_bytes());
        let text = URL_SAFE_NO_PAD.encode(hash.finish());
        Key::new(&text).expect("base64url of 32 bytes is a key")
    }
}

/// The first value of a header.
pub(crate) fn first(parts: &Parts, name: HeaderName) -> Option<&[u8]> {
    parts.headers.get(name).map(HeaderValue::as_bytes)
}

/// The headers `Cookie`.
pub(crate) fn cookies(parts: &Parts) -> Vec<&[u8]> {
    parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect()
}

/// The page that sent a request, as far as its cookies count.
pub(crate) fn page(parts: &Parts, config: &Config) -> Page {
    match config.cors.trusts(first(parts, ORIGIN), first(parts, SEC_FETCH_SITE)) {
        true => Page::Allowed,
        false => Page::Foreign,
    }
}

/// A topic that a known party may not use.
pub(crate) fn forbidden(topic: &LogName, right: Right) -> Error {
    Error::new(Code::Forbidden, format!("topic {topic:?}: no right to {}", right.as_str()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}
