//! Hints for an operator whose users are refused. A client gets none.

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde_json::Value;

use super::{Tokens, shape};
use crate::Timestamp;

/// Algorithms that people bring and that are not supported.
const UNSUPPORTED: [&str; 5] = ["none", "ES512", "ES256K", "Ed448", "Ed25519"];
/// An `exp` beyond this many seconds since 1970 (the year 5138) is a time in milliseconds.
const SECONDS_MAX: f64 = 1e11;

impl Tokens {
    /// Says what is hard to see in a token that is refused: names of issuers that differ by a slash, a time in
    /// milliseconds, a life that is too long, an algorithm that is not supported. Quotes nothing else of it.
    #[must_use]
    pub fn hint(&self, token: &str) -> Option<String> {
        let header = shape::header(token)?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        if let Some(named) = UNSUPPORTED.into_iter().find(|one| Some(*one) == algorithm) {
            return Some(format!(
                "algorithm {named} is not supported; let the issuer sign with ES256, EdDSA or RS256"
            ));
        }
        let claims: Value = insecure_decode_claims(token).ok()?;
        self.slash(&claims).or_else(|| self.time(token, &claims))
    }

    fn slash(&self, claims: &Value) -> Option<String> {
        let name = claims.get("iss")?.as_str()?;
        let mut names = self.issuers.iter().flat_map(|issuer| &issuer.names);
        let is_close =
            |one: &&String| *one != name && one.trim_end_matches('/') == name.trim_end_matches('/');
        let close = names.find(is_close)?;
        Some(format!("the token's issuer differs from {close:?} by a slash at the end alone"))
    }

    fn time(&self, token: &str, claims: &Value) -> Option<String> {
        let expires = claims.get("exp")?.as_f64()?;
        if expires > SECONDS_MAX {
            return Some("exp is thousands of years away: is it in milliseconds?".to_owned());
        }
        let life = self.issuer(token).ok()?.life?;
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
        let left = expires - Timestamp::now().as_seconds() as f64;
        (left > life.as_secs_f64()).then(|| {
            format!("the token lasts longer than max-life {}", humantime::format_duration(life))
        })
    }
}
