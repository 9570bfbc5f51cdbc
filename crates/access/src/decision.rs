//! The decision about a client: from its credentials to its grant.

use std::sync::Arc;

use metrics::{Counters, Registry};
use serde_json::Value;

use crate::denied::{Carrier, Denied, Reason};
use crate::machines::Machines;
use crate::tickets::{Form, Tickets};
use crate::tokens::Tokens;
use crate::{
    Credentials, Foreign, Grant, HistoryExtent, Page, Principal, Quotas, Revocations, Rights,
};

/// Decides about the clients of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// False if everybody may do everything and no credentials are looked at.
    is_closed: bool,
    settings: Settings,
    /// The grant of those who bring nothing.
    everybody: Arc<Grant>,
    revocations: Arc<Revocations>,
    failures: Counters<Reason>,
}

/// The sources of rights.
#[derive(Debug, Default)]
pub struct Settings {
    /// The rights of those who bring nothing, which everybody has.
    pub everybody: Arc<Rights>,
    /// The issuers of tokens, and their keys.
    pub tokens: Tokens,
    /// The tokens of machines.
    pub machines: Machines,
    /// Tickets and stream cookies; `None` if this node neither issues nor takes any.
    pub tickets: Option<Tickets>,
    /// The name of the cookie.
    pub cookie: Box<str>,
}

impl Access {
    /// Lets everybody do everything, without a look at credentials.
    #[must_use]
    pub fn open(registry: &Registry) -> Self {
        Self::of(false, Arc::new(Grant::everything()), Settings::default(), registry)
    }

    /// Lets clients do what everybody may do, and what their credentials grant.
    #[must_use]
    pub fn closed(settings: Settings, registry: &Registry) -> Self {
        let everybody = Grant::of_everybody(&settings.everybody, NOTHING);
        Self::of(true, Arc::new(everybody), settings, registry)
    }

    fn of(is_closed: bool, everybody: Arc<Grant>, settings: Settings, registry: &Registry) -> Self {
        let failures = registry.counters(
            "auth_failures_total",
            "Requests that were refused for their credentials or rights, by reason.",
        );
        let revocations = Arc::new(Revocations::default());
        let known = Arc::clone(&revocations);
        registry.gauge_fn("revocations", "Revocations that hold at present.", move || {
            known.len() as f64
        });
        Self(Arc::new(Inner { is_closed, settings, everybody, revocations, failures }))
    }

    /// Returns true if everybody may do everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.is_closed
    }

    /// The grant of those who bring nothing.
    #[must_use]
    pub fn of_everybody(&self) -> Arc<Grant> {
        Arc::clone(&self.0.everybody)
    }

    /// The revocations that this node knows.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// The tokens of machines.
    #[must_use]
    pub fn machines(&self) -> &Machines {
        &self.0.settings.machines
    }

    /// The name of the cookie.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.0.settings.cookie
    }

    /// The issuers of tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.0.settings.tokens
    }

    /// The tickets and stream cookies of this node, if it issues any.
    #[must_use]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.0.settings.tickets.as_ref()
    }

    /// Takes the credentials from a request; none if everybody may do everything.
    #[must_use]
    pub fn credentials(
        &self,
        authorization: Option<&[u8]>,
        cookies: &[&[u8]],
        ticket: Option<&str>,
        page: Page,
    ) -> Credentials {
        if self.is_open() {
            return Credentials::NONE;
        }
        Credentials::new(authorization, cookies, &self.0.settings.cookie, ticket, page)
    }

    /// Turns credentials into a grant. Waits only if a key has to be fetched.
    ///
    /// A header counts alone. A valid ticket counts before a cookie, which may be for other topics. A ticket
    /// that is not valid does not count beside a valid cookie: a browser repeats the URL, so a ticket that is
    /// spent comes again with the cookie that it brought. A cookie that is not valid grants what everybody may
    /// do, because a browser sends it unasked.
    ///
    /// # Errors
    /// The credentials are refused.
    pub async fn admit(&self, credentials: &Credentials) -> Result<Arc<Grant>, Denied> {
        let admitted = self.decide(credentials).await;
        let admitted =
            admitted.and_then(|grant| match self.0.revocations.concern(grant.principal()) {
                true => Err(Denied { reason: Reason::Revoked, carrier: grant.carrier }),
                false => Ok(grant),
            });
        admitted.inspect_err(|denied| self.count(denied.reason))
    }

    /// Verifies a token of another protocol, whose claims the caller reads. Waits only if a key has to be fetched.
    ///
    /// # Errors
    /// The token is refused.
    pub async fn admit_foreign(&self, token: &str, carrier: Carrier) -> Result<Foreign, Denied> {
        let verified = match self.0.settings.machines.find(token) {
            Some(grant) => Ok(Foreign { grant, claims: Value::Null, kind: None }),
            None => self.0.settings.tokens.verify_foreign(token).await,
        };
        let verified = verified.and_then(|verified| {
            match self.0.revocations.concern(verified.grant.principal()) {
                true => Err(Reason::Revoked),
                false => Ok(verified),
            }
        });
        verified.map_err(|reason| Denied { reason, carrier }).inspect_err(|d| self.count(d.reason))
    }

    /// Counts a refusal for a lack of rights, which the service finds.
    pub fn count(&self, reason: Reason) {
        self.0.failures.of(reason).inc();
    }

    async fn decide(&self, credentials: &Credentials) -> Result<Arc<Grant>, Denied> {
        if credentials.is_none() {
            return Ok(Arc::clone(&self.0.everybody));
        }
        let denied = |carrier| move |reason| Denied { reason, carrier };
        if let Some(header) = &credentials.header {
            let token = header.as_deref().map_err(|()| denied(Carrier::Header)(Reason::NotJwt))?;
            let grant = self.token(token).await.map_err(denied(Carrier::Header))?;
            let others = [self.cookie(credentials).await, self.ticket(credentials)];
            return alone(grant, others.into_iter().flatten().flatten());
        }
        match (self.cookie(credentials).await, self.ticket(credentials)) {
            (cookie, Some(Ok(grant))) => alone(grant, cookie.into_iter().flatten()),
            (Some(Ok(grant)), Some(Err(Reason::Expired))) => Ok(Arc::new(grant.beside_expired())),
            (Some(Ok(grant)), _) => Ok(grant),
            (_, Some(Err(reason))) => Err(denied(Carrier::Ticket)(reason)),
            (Some(Err(reason)), None) => {
                let why = Denied { reason, carrier: Carrier::Cookie };
                Ok(Arc::new(Grant::of_everybody(&self.0.settings.everybody, why)))
            }
            (None, None) => Ok(Arc::clone(&self.0.everybody)),
        }
    }

    /// The grant of a token of an issuer or a machine.
    async fn token(&self, token: &str) -> Result<Arc<Grant>, Reason> {
        if let Some(grant) = self.0.settings.machines.find(token) {
            return Ok(grant);
        }
        self.0.settings.tokens.verify(token).await
    }

    /// The grant of the cookie, if there is one: a token or a stream cookie.
    async fn cookie(&self, credentials: &Credentials) -> Option<Result<Arc<Grant>, Reason>> {
        let cookie = credentials.cookie.as_deref()?;
        if credentials.is_foreign {
            return Some(Err(Reason::CrossSite));
        }
        if let Some(tickets) = self.tickets()
            && Tickets::made(cookie)
        {
            return Some(tickets.verify(cookie, Form::Cookie).map(Arc::new));
        }
        Some(self.token(cookie).await)
    }

    /// The grant of the ticket, if there is one.
    fn ticket(&self, credentials: &Credentials) -> Option<Result<Arc<Grant>, Reason>> {
        let ticket = credentials.ticket.as_deref()?;
        let Some(tickets) = self.tickets() else {
            return Some(Err(Reason::UnknownKey));
        };
        Some(tickets.verify(ticket, Form::Ticket).map(Arc::new))
    }
}

/// The denial of those who bring nothing.
const NOTHING: Denied = Denied { reason: Reason::NoToken, carrier: Carrier::Nothing };

/// Returns the grant, unless another valid one names another party.
fn alone(
    grant: Arc<Grant>,
    mut others: impl Iterator<Item = Arc<Grant>>,
) -> Result<Arc<Grant>, Denied> {
    let is_other = |other: Arc<Grant>| other.principal().subject() != grant.principal().subject();
    match others.any(is_other) {
        true => Err(Denied { reason: Reason::Conflict, carrier: grant.carrier }),
        false => Ok(grant),
    }
}

impl Grant {
    /// The grant of a cookie that came with a ticket whose time is over. For a topic that the cookie is not
    /// for, the page needs another ticket.
    fn beside_expired(&self) -> Self {
        Self { carrier: Carrier::Cookie, lack: Reason::Expired, ..self.clone() }
    }

    fn of_everybody(rights: &Arc<Rights>, lack: Denied) -> Self {
        Self {
            principal: Principal::ANONYMOUS,
            rights: Rights::default(),
            everybody: Arc::clone(rights),
            history: HistoryExtent::All,
            quotas: Quotas::default(),
            member: None,
            issued: None,
            is_admin: false,
            key: None,
            token: None,
            carrier: lack.carrier,
            lack: lack.reason,
        }
    }
}
