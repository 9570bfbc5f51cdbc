//! Hints for an operator whose users are refused. A client gets none.

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde_json::Value;

use super::Tokens;
use super::shape::{self, Shape};
use crate::claims::{Claims, is, texts};
use crate::issuer::{ClaimName, Issuer};
use crate::{Patterns, Timestamp};

/// Algorithms that people bring and that are not supported.
const UNSUPPORTED: [&str; 5] = ["none", "ES512", "ES256K", "Ed448", "Ed25519"];
/// An `exp` beyond this many seconds since 1970 (the year 5138) is a time in milliseconds.
const SECONDS_MAX: f64 = 1e11;

/// Claims in which providers name the party that a token is for.
const PARTIES: [&str; 5] = ["aud", "azp", "client_id", "cid", "appid"];

impl Tokens {
    /// Says what is hard to see in a token that is refused: names of issuers that differ by a slash, a time in
    /// milliseconds, an audience in another claim, a claim that the issuer's block demands. Names claims and what
    /// the configuration accepts, and quotes no value of the token.
    #[must_use]
    pub fn hint(&self, token: &str) -> Option<String> {
        let header = shape::header(token)?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        if let Some(named) = UNSUPPORTED.into_iter().find(|one| Some(*one) == algorithm) {
            return Some(format!(
                "algorithm {named} is not supported; let the issuer sign with ES256, EdDSA or RS256"
            ));
        }
        let claims: Claims = insecure_decode_claims(token).ok()?;
        let name = claims.get(&ClaimName::new("iss").ok()?).and_then(Value::as_str);
        if let Some(hint) = name.and_then(|name| self.slash(name)) {
            return Some(hint);
        }
        if let Some(hint) = milliseconds(&claims) {
            return Some(hint);
        }
        let Ok(issuer) = self.issuer(token) else { return self.unknown(name) };
        header_hint(issuer, token)
            .or_else(|| self.unknown(name).filter(|_| !issuer.accepts(name)))
            .or_else(|| audience(issuer, &claims))
            .or_else(|| life(issuer, &claims))
            .or_else(|| required(issuer, &claims))
            .or_else(|| rights(issuer, &claims))
    }

    fn slash(&self, name: &str) -> Option<String> {
        let mut names = self.issuers.iter().flat_map(|issuer| &issuer.names);
        let is_close =
            |one: &&String| *one != name && one.trim_end_matches('/') == name.trim_end_matches('/');
        let close = names.find(is_close)?;
        Some(format!("the token's issuer differs from {close:?} by a slash at the end alone"))
    }

    /// A hint on the names that are accepted.
    fn unknown(&self, name: Option<&str>) -> Option<String> {
        let names: Vec<_> = self.issuers.iter().flat_map(|issuer| &issuer.names).collect();
        let lack = if name.is_some() { "claim iss is another" } else { "claim iss is missing" };
        (!names.is_empty()).then(|| format!("{lack}; accepted: {names:?}"))
    }
}

impl Issuer {
    fn accepts(&self, name: Option<&str>) -> bool {
        self.names.is_empty() || name.is_some_and(|name| self.names.iter().any(|one| one == name))
    }
}

fn header_hint(issuer: &Issuer, token: &str) -> Option<String> {
    let shape = Shape::of(token).ok()?;
    if !shape.is_of(&issuer.types) {
        return Some(format!("typ of the header is another; accepted: {:?}", issuer.types));
    }
    let accepted = &issuer.algorithms;
    (!accepted.contains(&shape.algorithm)).then(|| {
        format!("algorithm {:?} is not among those of the issuer: {accepted:?}", shape.algorithm)
    })
}

fn audience(issuer: &Issuer, claims: &Claims) -> Option<String> {
    let has = |claim: &ClaimName| {
        let named = claims.get(claim).and_then(texts).unwrap_or_default();
        named.iter().any(|one| issuer.audience.iter().any(|accepted| accepted == one))
    };
    let (claim, accepted) = (&issuer.audience_claim, &issuer.audience);
    if accepted.is_empty() || has(claim) {
        return None;
    }
    let is_absent = claims.get(claim).is_none_or(Value::is_null);
    let lack = if is_absent { "is missing" } else { "is another" };
    let other = PARTIES.iter().find(|name| ClaimName::new(name).is_ok_and(|name| has(&name)));
    Some(match other {
        Some(other) => format!(
            "claim {claim} {lack}, and {other} has an accepted audience: audience-claim = {other:?}"
        ),
        None => format!("claim {claim} {lack}; accepted audiences: {accepted:?}"),
    })
}

/// The time at which a token ends, in seconds from now.
fn left(claims: &Claims) -> Option<f64> {
    let expires = claims.get(&ClaimName::new("exp").ok()?)?.as_f64()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    Some(expires - Timestamp::now().as_seconds() as f64)
}

fn milliseconds(claims: &Claims) -> Option<String> {
    let is_far = left(claims)? > SECONDS_MAX;
    is_far.then(|| "exp is thousands of years away: is it in milliseconds?".to_owned())
}

fn life(issuer: &Issuer, claims: &Claims) -> Option<String> {
    let life = issuer.life?;
    let is_long = left(claims)? > life.as_secs_f64();
    is_long.then(|| format!("the token lasts longer than max-life {}", issuer.life_text()))
}

fn required(issuer: &Issuer, claims: &Claims) -> Option<String> {
    let lacks = |(claim, values): &&(ClaimName, Vec<String>)| {
        let value = claims.get(claim);
        !value.is_some_and(|value| values.iter().any(|one| is(value, one)))
    };
    if let Some((claim, values)) = issuer.required.iter().find(lacks) {
        return Some(format!("claim {claim} is missing or another; required: {values:?}"));
    }
    let subject = claims.get(&issuer.subject).and_then(Value::as_str);
    subject.is_none_or(str::is_empty).then(|| {
        format!("claim {} holds no subject; subject = \"CLAIM\" takes another", issuer.subject)
    })
}

fn rights(issuer: &Issuer, claims: &Claims) -> Option<String> {
    let grants = &issuer.grants;
    let Ok(written) = claims.written(grants) else {
        return Some(format!(
            "claim {grants} must be an object, or text that holds one, with no members but subscribe, publish, \
             end, history, quotas and admin"
        ));
    };
    let Ok(own) = written.rights() else {
        return Some(format!(
            "claim {grants} has a text that is no pattern, or more than {} in a list",
            Patterns::MAX
        ));
    };
    claims.with_mapped(own, issuer).is_err().then(|| {
        let most = Patterns::MAX;
        format!("a claim of map is no text and no list of texts, or its values bring more than {most} patterns")
    })
}
