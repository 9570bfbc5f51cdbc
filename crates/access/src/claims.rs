//! The claims of a token whose signature is right: checked strictly, and turned into a grant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::denied::{Carrier, Reason};
use crate::issuer::{ClaimName, Issuer, WrittenRights};
use crate::{Grant, HistoryExtent, Pattern, Patterns, Principal, Rights, Timestamp};

/// The claims by name. A name that comes twice is refused, because readers differ on which of the two counts.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = members.next_entry()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim comes twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }

        from.deserialize_map(Members)
    }
}

/// The issuer and the end of a token, before anything is verified.
#[derive(Debug, Deserialize)]
pub(crate) struct Unverified {
    iss: Option<Value>,
    exp: Option<Value>,
}

impl Unverified {
    /// The name of the issuer; `None` if it is absent.
    ///
    /// # Errors
    /// It is no text.
    pub(crate) fn issuer(&self) -> Result<Option<&str>, Reason> {
        text(self.iss.as_ref())
    }

    /// Refuses a token that no key makes good: one of another issuer, or one that is over.
    pub(crate) fn check(
        &self,
        issuer: &Issuer,
        now: Timestamp,
        needs: Needs<'_>,
    ) -> Result<(), Reason> {
        if !issuer.names.is_empty() {
            let name = self.issuer()?.ok_or(Reason::MissingClaim)?;
            issuer.names.iter().any(|one| one == name).then_some(()).ok_or(Reason::Issuer)?;
        }
        let expires = seconds(self.exp.as_ref())?;
        let expires = match (expires, needs) {
            (Some(expires), _) => expires,
            (None, Needs::Signature { .. }) => return Ok(()),
            (None, Needs::All) => return Err(Reason::MissingClaim),
        };
        let is_over = expires.later(LEEWAY).after(now) < LEFT_MIN;
        if is_over { Err(Reason::Expired) } else { Ok(()) }
    }
}

/// The claims that a token must have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needs<'a> {
    /// An end and a subject.
    All,
    /// None, as in a protocol that leaves both to its issuers: claims that are there are checked all the same.
    Signature {
        /// The name of a party that the token does not name.
        nameless: &'a str,
    },
}

/// The time that clocks may differ by, and that a token lasts beyond its `exp`.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);
/// The least time that a token must last, or the client would be told to come back at once.
pub(crate) const LEFT_MIN: Duration = Duration::from_secs(3);
/// A token that lasts longer names its time in milliseconds.
const LIFE_MAX: Duration = Duration::from_hours(24 * 365 * 20);

impl Claims {
    /// Checks the claims by the rules of their issuer, and returns the grant.
    ///
    /// # Errors
    /// A claim is missing, malformed, or of a value that is refused.
    pub(crate) fn grant(
        &self,
        issuer: &Issuer,
        (everybody, key): (&Arc<Rights>, Option<&str>),
        now: Timestamp,
        needs: Needs<'_>,
    ) -> Result<Grant, Reason> {
        self.check_issuer(issuer)?;
        self.check_audience(issuer)?;
        let deadline = self.deadline(issuer, now, needs)?;
        let issued = seconds(self.0.get("iat"))?;
        for (claim, wanted) in &issuer.required {
            match self.get(claim) {
                None | Some(Value::Null) => return Err(Reason::MissingClaim),
                Some(value) if wanted.iter().any(|one| is(value, one)) => {}
                Some(_) => return Err(Reason::RequiredValue),
            }
        }
        let subject = match (text(self.get(&issuer.subject))?, needs) {
            (Some(subject), _) => subject,
            (None, Needs::Signature { nameless }) => nameless,
            (None, Needs::All) => return Err(Reason::MissingClaim),
        };
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
            return Err(Reason::MalformedClaim);
        }
        let token = text(self.0.get("jti"))?;
        let written = self.written(&issuer.grants)?;
        let own = written.rights().map_err(|_| Reason::MalformedClaim)?;
        let history = written.history.as_deref().map_or(Ok(HistoryExtent::All), str::parse);
        Ok(Grant {
            principal: Principal::new(subject, token, deadline),
            rights: self.with_mapped(own, issuer)?,
            everybody: Arc::clone(everybody),
            history: history.map_err(|_| Reason::MalformedClaim)?,
            quotas: written.quotas,
            member: written.member()?,
            issued,
            is_admin: written.admin,
            key: key.map(Into::into),
            token: token.map(Into::into),
            carrier: Carrier::Header,
            lack: Reason::Topic,
        })
    }

    fn check_issuer(&self, issuer: &Issuer) -> Result<(), Reason> {
        if issuer.names.is_empty() {
            return text(self.0.get("iss")).map(drop);
        }
        let name = text(self.0.get("iss"))?.ok_or(Reason::MissingClaim)?;
        issuer.names.iter().any(|one| one == name).then_some(()).ok_or(Reason::Issuer)
    }

    fn check_audience(&self, issuer: &Issuer) -> Result<(), Reason> {
        if issuer.audience.is_empty() {
            return Ok(());
        }
        let named = self.get(&issuer.audience_claim).filter(|value| !value.is_null());
        let named = texts(named.ok_or(Reason::MissingClaim)?).ok_or(Reason::MalformedClaim)?;
        let is_ours = |name: &&str| issuer.audience.iter().any(|one| one == name);
        named.iter().any(is_ours).then_some(()).ok_or(Reason::Audience)
    }

    /// The time at which the right ends: one for both who is let in and when a stream ends. `None` if it does not.
    fn deadline(
        &self,
        issuer: &Issuer,
        now: Timestamp,
        needs: Needs<'_>,
    ) -> Result<Option<Timestamp>, Reason> {
        let deadline = seconds(self.0.get("exp"))?.map(|expires| expires.later(LEEWAY));
        match (deadline, needs) {
            (Some(deadline), _) => Self::check_left(issuer, deadline.after(now))?,
            // An issuer whose tokens may last for a bounded time gives each an end.
            (None, Needs::Signature { .. }) if issuer.life.is_none() => {}
            (None, _) => return Err(Reason::MissingClaim),
        }
        let begins = seconds(self.0.get("nbf"))?;
        let is_early = begins.is_some_and(|begins| begins.after(now) > LEEWAY);
        if is_early { Err(Reason::NotYet) } else { Ok(deadline) }
    }

    fn check_left(issuer: &Issuer, left: Duration) -> Result<(), Reason> {
        if left > issuer.life.map_or(LIFE_MAX, |life| life + LEEWAY).min(LIFE_MAX) {
            return Err(Reason::MalformedClaim);
        }
        if left < LEFT_MIN { Err(Reason::Expired) } else { Ok(()) }
    }

    /// All claims, for a protocol that has some of its own.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The rights of the claim for them: an object, or a text that holds one.
    pub(crate) fn written(&self, claim: &ClaimName) -> Result<WrittenRights, Reason> {
        let written = match self.get(claim) {
            None | Some(Value::Null) => return Ok(WrittenRights::default()),
            Some(Value::String(text)) => serde_json::from_str(text),
            Some(value) => WrittenRights::deserialize(value),
        };
        written.map_err(|_| Reason::MalformedClaim)
    }

    /// Adds the rights that scopes, roles and groups bring.
    pub(crate) fn with_mapped(&self, own: Rights, issuer: &Issuer) -> Result<Rights, Reason> {
        let mut all = own;
        for mapped in &issuer.mapped {
            let brings = match self.get(&mapped.claim) {
                None | Some(Value::Null) => false,
                // Scopes are words of one text. A name of a list may have spaces: it is not cut.
                Some(Value::String(text)) => {
                    *text == mapped.value || text.split(' ').any(|word| word == mapped.value)
                }
                Some(value) => {
                    let names = texts(value).ok_or(Reason::MalformedClaim)?;
                    names.iter().any(|name| *name == mapped.value)
                }
            };
            if brings {
                all = all.with(&mapped.rights).map_err(|_| Reason::MalformedClaim)?;
            }
        }
        Ok(all)
    }

    /// A claim by its exact name, or else by a JSON pointer.
    pub(crate) fn get(&self, name: &ClaimName) -> Option<&Value> {
        self.0.get(name.as_str()).or_else(|| self.at(name.as_str()))
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        let path = pointer.strip_prefix('/')?;
        let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        let first = first.replace("~1", "/").replace("~0", "~");
        self.0.get(&first)?.pointer(rest)
    }
}

/// The longest subject, in bytes: it is kept for each stream.
pub(crate) const SUBJECT_BYTES_MAX: usize = 256;

/// The text of a claim. `None` if it is absent.
fn text(value: Option<&Value>) -> Result<Option<&str>, Reason> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reason::MalformedClaim),
    }
}

/// A text, or a list of nothing but texts.
pub(crate) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// A point in time, rounded down to seconds. `None` if it is absent.
fn seconds(value: Option<&Value>) -> Result<Option<Timestamp>, Reason> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(Reason::MalformedClaim),
    };
    let whole = number.as_u64().or_else(|| {
        let fraction = number.as_f64().filter(|n| n.is_finite() && (0.0..1e15).contains(n))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is in range"
        )]
        Some(fraction as u64)
    });
    whole.map(|seconds| Some(Timestamp::from_seconds(seconds))).ok_or(Reason::MalformedClaim)
}

/// Returns true if a claim has a value, or is a list that holds it.
pub(crate) fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Array(all) => all.iter().any(|one| is(one, wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

impl Rights {
    /// These rights and others.
    fn with(&self, others: &Self) -> Result<Self, crate::BadPattern> {
        let both = |own: &Patterns, other: &Patterns| {
            // Several roles often bring the same.
            let more = other.iter().filter(|one| own.iter().all(|known| known != *one));
            Patterns::new(own.iter().chain(more).map(Pattern::as_str))
        };
        Ok(Self {
            subscribe: both(&self.subscribe, &others.subscribe)?,
            publish: both(&self.publish, &others.publish)?,
            end: both(&self.end, &others.end)?,
            presence: both(&self.presence, &others.presence)?,
        })
    }
}
