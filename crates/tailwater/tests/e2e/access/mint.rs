//! Tokens as an issuer would sign them, and as an attacker would.

use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use loadtest::machine::TailwaterBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "tailwater";

/// An issuer with one key.
pub(crate) struct Mint {
    key: EncodingKey,
    kid: String,
    directory: TempDir,
}

/// The claims of a token.
pub(crate) type Claims = serde_json::Map<String, Value>;

impl Mint {
    pub(crate) fn new(kid: &str) -> Self {
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(pair.as_ref());
        let mint = Self { key, kid: kid.to_owned(), directory: TempDir::new().unwrap() };
        std::fs::write(mint.file(), mint.keys()).unwrap();
        mint
    }

    /// The file with the public key.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("keys.json")
    }

    /// The public key as a JWK set.
    pub(crate) fn keys(&self) -> String {
        let mut key = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        key.common.key_id = Some(self.kid.clone());
        serde_json::to_string(&JwkSet { keys: vec![key] }).unwrap()
    }

    /// Makes a node demand this issuer's tokens.
    pub(crate) fn close(&self, node: TailwaterBuilder) -> TailwaterBuilder {
        node.flag("--auth-keys", self.file().display().to_string())
            .flag("--auth-issuer", ISSUER)
            .flag("--auth-audience", AUDIENCE)
    }

    /// The claims of a user who may read `topic` and publish to it, for so many seconds.
    pub(crate) fn claims(topic: &str, seconds: i64) -> Claims {
        let claims = json!({
            "iss": ISSUER, "aud": [AUDIENCE, "others"], "sub": "ann", "jti": "token-1",
            "iat": now(), "exp": now() + seconds,
            "tailwater": { "subscribe": [topic], "publish": [topic], "end": [topic] },
        });
        claims.as_object().unwrap().clone()
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key).unwrap()
    }

    /// A token of a user for a topic, good for an hour.
    pub(crate) fn token(&self, topic: &str) -> String {
        self.sign(&Self::claims(topic, 3600))
    }

    /// Signs with the text of the public key as if it were a secret.
    pub(crate) fn confused(&self, claims: &Claims) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::HS256) };
        encode(&header, claims, &EncodingKey::from_secret(self.keys().as_bytes())).unwrap()
    }

    /// Signs nothing.
    pub(crate) fn unsigned(&self, claims: &Claims) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "none", "kid": self.kid });
        format!("{}.{}.", part(&header), part(&Value::Object(claims.clone())))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
