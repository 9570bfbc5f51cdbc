//! The decision about a subscriber of a hub.

use std::net::SocketAddr;
use std::sync::Arc;

use access::audit::{self, Action};
use access::{Access, Carrier, Denied, Grant, Reason, Right};
use mercure::{Claims, Refusal, Settings, Token};

use super::{Filter, HubRequest, Refused};

/// The reason why a party may not subscribe.
#[derive(Debug)]
pub(crate) enum Lack {
    /// The protocol has an answer for it.
    Refused(Refused),
    /// It will pass.
    Passing(Denied),
}

/// Decides who asks, and which updates it may have. In comes a party with the protocol's own rights, whatever they are for,
/// with a right of this node's to all `texts` that it asks for, or without any if subscribers may be anonymous. A private
/// update needs the protocol's own right.
pub(crate) async fn permit(
    wanted: &HubRequest,
    access: &Access,
    settings: &Arc<Settings>,
    texts: &[&str],
    peer: SocketAddr,
) -> Result<(Arc<Grant>, Filter), Lack> {
    let filter = |claims| Filter {
        settings: Arc::clone(settings),
        selectors: wanted.subscription.selectors.clone(),
        claims,
    };
    if access.is_open() {
        return Ok((access.of_everybody(), filter(None)));
    }
    let dialect = wanted.subscription.dialect;
    let refused = |refusal| Lack::Refused(Refused { refusal, dialect, hub: settings.hub.clone() });
    let first = texts.first().copied().unwrap_or_default();
    let token = wanted.subscription.token.as_ref();
    let (grant, claims) = match token {
        None => (access.of_everybody(), Claims::default()),
        Some(token) => {
            let verified = access.admit_foreign(&token.text, carrier(token)).await;
            let foreign = verified.map_err(|denied| {
                audit::refused(Action::Subscribe, None, first, denied.reason, peer);
                match denied.reason {
                    Reason::KeysUnavailable => Lack::Passing(denied),
                    _ => refused(Refusal::bad_token()),
                }
            })?;
            let kind = foreign.kind.as_deref();
            let claims = Claims::of_token(&foreign.claims, kind, Some(dialect), &settings.hub);
            let claims = claims.map_err(|bad| {
                tracing::debug!(reason = bad.for_log(), "claims of a token refused");
                access.count(Reason::MalformedClaim);
                let (grant, reason) = (Some(&*foreign.grant), Reason::MalformedClaim);
                audit::refused(Action::Subscribe, grant, first, reason, peer);
                refused(bad.into())
            })?;
            (foreign.grant, claims)
        }
    };
    let is_let_in = settings.is_anonymous_allowed
        || claims.dialect().is_some()
        || texts.iter().all(|text| grant.allows(Right::Subscribe, text));
    if is_let_in {
        return Ok((grant, filter(Some(claims))));
    }
    let (reason, refusal) = match token {
        None => (Reason::NoToken, Refusal::no_token()),
        Some(_) => (Reason::Topic, Refusal::scope()),
    };
    access.count(reason);
    audit::refused(Action::Subscribe, Some(&grant), first, reason, peer);
    Err(refused(refusal))
}

const fn carrier(token: &Token) -> Carrier {
    match token.carrier {
        mercure::Carrier::Cookie => Carrier::Cookie,
        mercure::Carrier::Header | mercure::Carrier::Query => Carrier::Header,
    }
}
