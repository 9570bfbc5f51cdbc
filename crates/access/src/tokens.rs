//! The tokens of issuers: from a text to a grant.

mod cache;
mod hint;
mod shape;

use std::sync::Arc;

use jsonwebtoken::crypto::{aws_lc, verify};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use metrics::{Histogram, Label as _, Registry, buckets};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::claims::{Claims, Needs, Unverified};
use crate::denied::Reason;
use crate::issuer::{Issuer, Refreshed};
use crate::key::{Key, Loaded};
use crate::{Foreign, Grant, Rights, Timestamp};

use cache::Verified;
use shape::Shape;

/// The issuers of tokens, and their keys.
#[derive(Debug)]
pub struct Tokens {
    issuers: Vec<Issuer>,
    everybody: Arc<Rights>,
    verified: Verified,
    seconds: Histogram,
}

/// Keys that are tried for a token that names none, or one that several have.
const TRIED_MAX: usize = 4;

/// Signs a token and verifies it: a library whose cryptography does not work ends the start, and not the first
/// request.
fn prove() {
    const SECRET: &[u8] = b"a secret of the proof alone";
    let claims = json!({ "exp": u64::from(u32::MAX) });
    let signed = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET));
    let verified = signed.and_then(|token| {
        let key = DecodingKey::from_secret(SECRET);
        decode::<Value>(&token, &key, &Validation::default())
    });
    let verified = verified.expect("the library verifies a token that it has signed");
    assert_eq!(verified.claims, claims, "the library changes a token's claims");
}

impl Tokens {
    /// The issuers, in their order. Every grant adds to the rights of everybody.
    ///
    /// # Panics
    /// The library cannot verify a token.
    #[must_use]
    pub fn new(issuers: Vec<Issuer>, everybody: Arc<Rights>, registry: &Registry) -> Self {
        // Named, because the library chooses by the features of the whole program: a dependency that turned on its
        // other back end would turn the first token into a panic. An error says that it is chosen already.
        let _chosen = aws_lc::DEFAULT_PROVIDER.install_default();
        prove();
        let seconds = registry.histogram(
            "auth_verify_seconds",
            "Time that the verification of a token took on its worker.",
            buckets::LATENCY,
        );
        Self { issuers, everybody, verified: Verified::default(), seconds }
    }

    /// Verifies a token and returns what it grants. Waits only if a key has to be fetched.
    ///
    /// # Errors
    /// The token is refused.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Grant>, Reason> {
        if self.issuers.is_empty() {
            return Err(Reason::Issuer);
        }
        let name = cache::name(token);
        let generation = self.generation();
        if let Some(grant) = self.verified.get(&name, generation) {
            return Ok(grant);
        }
        let shape = Shape::of(token).inspect_err(|reason| self.log(token, None, *reason))?;
        let grant = |claims: Claims, issuer: &Issuer, key: Option<&str>| {
            claims.grant(issuer, (&self.everybody, key), Timestamp::now(), Needs::All)
        };
        let verified = self.verify_anew(token, &shape, Needs::All, &grant).await;
        let verified =
            verified.inspect_err(|reason| self.log(token, shape.key.as_deref(), *reason));
        let grant = Arc::new(verified?);
        // Under the keys of before: a key that was taken away in the meantime must not stay good.
        self.verified.put(name, Arc::clone(&grant), generation);
        Ok(grant)
    }

    /// Verifies a token of another protocol, which may lack an end and a subject. Nothing of it is remembered.
    ///
    /// # Errors
    /// The token is refused.
    pub(crate) async fn verify_foreign(&self, token: &str) -> Result<Foreign, Reason> {
        if self.issuers.is_empty() {
            return Err(Reason::Issuer);
        }
        let shape = Shape::of(token).inspect_err(|reason| self.log(token, None, *reason))?;
        let needs = Needs::Signature { nameless: &nameless(token) };
        let read = |claims: Claims, issuer: &Issuer, key: Option<&str>| {
            let everybody = (&self.everybody, key);
            let grant = claims.grant(issuer, everybody, Timestamp::now(), needs)?;
            Ok(Foreign {
                grant: Arc::new(grant),
                claims: claims.into_value(),
                kind: shape.kind().map(ToOwned::to_owned),
            })
        };
        let verified = self.verify_anew(token, &shape, needs, &read).await;
        verified.inspect_err(|reason| self.log(token, shape.key.as_deref(), *reason))
    }

    /// Logs a refusal by its kind. The id of the key is bounded, and escaped; nothing else of the token is shown.
    fn log(&self, token: &str, kid: Option<&str>, reason: Reason) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            let hint = self.hint(token);
            tracing::debug!(reason = reason.as_str(), ?kid, hint, "token refused");
        }
    }

    async fn verify_anew<T>(
        &self,
        token: &str,
        shape: &Shape,
        needs: Needs<'_>,
        read: &(impl Fn(Claims, &Issuer, Option<&str>) -> Result<T, Reason> + Sync),
    ) -> Result<T, Reason> {
        let issuer = self.issuer(token)?;
        if !shape.is_of(&issuer.types) {
            return Err(Reason::Type);
        }
        if !issuer.algorithms.contains(&shape.algorithm) {
            return Err(Reason::Algorithm);
        }
        let Some(server) = &issuer.server else {
            return self.try_keys(token, shape, issuer, &[issuer.files.get()], read);
        };
        let rings = || {
            let fetched = server.keys().map(|ring| ring.get());
            [issuer.files.get()].into_iter().chain(fetched).collect::<Vec<_>>()
        };
        let keys = rings();
        let outcome = self.try_keys(token, shape, issuer, &keys, read);
        // A key without an id fits any token: that it has refused one does not tell that no newer key verifies it.
        let lacks_key =
            matches!(outcome, Err(Reason::UnknownKey | Reason::Signature | Reason::Algorithm));
        if !lacks_key || shape.is_named_in(&keys) {
            return outcome;
        }
        // A token that no key makes good is no reason to ask for keys.
        unverified(token)?.check(issuer, Timestamp::now(), needs)?;
        // The future of a fetch is rare and large.
        match Box::pin(Arc::clone(server).refresh(shape.key.as_deref())).await {
            Refreshed::Loaded => self.try_keys(token, shape, issuer, &rings(), read),
            Refreshed::Known => outcome,
            // The token may be as good as its key is new.
            Refreshed::Unavailable => Err(Reason::KeysUnavailable),
        }
    }

    /// The issuer that a token names, which nothing has proved yet.
    fn issuer(&self, token: &str) -> Result<&Issuer, Reason> {
        if let [only] = &self.issuers[..] {
            return Ok(only);
        }
        let unverified = unverified(token)?;
        let named = unverified.issuer()?;
        let is = |issuer: &&Issuer| match named {
            Some(name) => issuer.names.iter().any(|one| one == name),
            None => issuer.names.is_empty(),
        };
        let found = self.issuers.iter().find(is);
        let any = || self.issuers.iter().find(|issuer| issuer.names.is_empty());
        let lack = if named.is_some() { Reason::Issuer } else { Reason::MissingClaim };
        found.or_else(any).ok_or(lack)
    }

    fn try_keys<T>(
        &self,
        token: &str,
        shape: &Shape,
        issuer: &Issuer,
        rings: &[Loaded],
        read: &impl Fn(Claims, &Issuer, Option<&str>) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        let fits = |key: &&Key| match (&shape.key, key.id()) {
            (Some(wanted), Some(id)) => **wanted == *id,
            _ => true,
        };
        let verifies = |key: &&Key| key.algorithms().contains(&shape.algorithm);
        let all = || rings.iter().flat_map(|ring| ring.keys.iter()).filter(fits);
        if all().next().is_none() {
            return Err(Reason::UnknownKey);
        }
        let is_named = |key: &&Key| key.id().is_some() && shape.key.is_some();
        // Those that the token names come first.
        let named = all().filter(verifies).filter(is_named);
        let others = all().filter(verifies).filter(|key| !is_named(key));
        let mut outcome = Err(Reason::Algorithm);
        for key in named.chain(others).take(TRIED_MAX) {
            outcome = self
                .try_key(token, shape.algorithm, key)
                .and_then(|claims| read(claims, issuer, key.id()));
            if !matches!(outcome, Err(Reason::Signature)) {
                break;
            }
        }
        outcome
    }

    fn try_key(&self, token: &str, algorithm: Algorithm, key: &Key) -> Result<Claims, Reason> {
        // The signature alone: the library does not tell a malformed claim from one that is absent, and takes
        // forms that the standard does not have. `Claims` checks them. The library's `decode` would also parse
        // the header twice more and the claims twice.
        let (message, signature) = token.rsplit_once('.').ok_or(Reason::NotJwt)?;
        let begin = Instant::now();
        let verified = verify(signature, message.as_bytes(), key.decoding(), algorithm);
        self.seconds.observe(begin.elapsed().as_secs_f64());
        if !verified.map_err(|error| reason(error.kind()))? {
            return Err(Reason::Signature);
        }
        // Its name warns of a token whose signature nobody has verified.
        insecure_decode_claims(token).map_err(|error| reason(error.kind()))
    }

    /// The sum of all loads of keys: another after each.
    fn generation(&self) -> u64 {
        let of = |issuer: &Issuer| {
            let fetched = issuer.server.as_ref().and_then(|server| server.keys());
            issuer.files.get().generation + fetched.map_or(0, |ring| ring.get().generation)
        };
        self.issuers.iter().map(of).fold(0, u64::wrapping_add)
    }
}

/// The name of a party whose token names none: two tokens are two parties.
fn nameless(token: &str) -> String {
    format!("token:{}", crate::hash_of_subject(token))
}

/// Claims that nothing has proved yet.
fn unverified(token: &str) -> Result<Unverified, Reason> {
    insecure_decode_claims(token).map_err(|_| Reason::NotJwt)
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new(Vec::new(), Arc::default(), &Registry::new())
    }
}

/// The kind of an error. The library's own texts may quote the token.
fn reason(kind: &ErrorKind) -> Reason {
    match kind {
        ErrorKind::InvalidSignature => Reason::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Reason::Algorithm,
        // The signature is right then: the claims are read after it.
        ErrorKind::Json(_) => Reason::MalformedClaim,
        _ => Reason::NotJwt,
    }
}

#[cfg(test)]
mod tests;
