//! Keys and tokens for tests, made when a test needs them.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A pair of keys.
pub(crate) struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    /// The public key in PEM.
    pub(crate) public: String,
}

/// A secret.
pub(crate) const SECRET: &str = "a secret of the tests, longer than 32 bytes";

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    pem("PUBLIC KEY", key.as_der().unwrap().as_ref())
}

impl Pair {
    pub(crate) fn ec() -> Self {
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref()).unwrap();
        let private = EncodingKey::from_ec_der(pkcs8.as_ref());
        Self { algorithm: Algorithm::ES256, private, public: public(pair.public_key()) }
    }

    pub(crate) fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.as_ref()).unwrap();
        let private = EncodingKey::from_ed_der(pkcs8.as_ref());
        Self { algorithm: Algorithm::EdDSA, private, public: public(pair.public_key()) }
    }

    /// One for all tests: it takes long to make.
    pub(crate) fn rsa() -> &'static Self {
        static RSA: OnceLock<Pair> = OnceLock::new();
        RSA.get_or_init(|| {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
            let private = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", der.as_ref()).as_bytes());
            let private = private.unwrap();
            Self { algorithm: Algorithm::RS256, private, public: public(pair.public_key()) }
        })
    }

    pub(crate) fn secret(secret: &str) -> Self {
        let private = EncodingKey::from_secret(secret.as_bytes());
        Self { algorithm: Algorithm::HS256, private, public: secret.to_owned() }
    }

    /// The public key as a JWK with an id.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with an ordinary header. The key may have an id.
    pub(crate) fn token(&self, id: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let Some(id) = id {
            header["kid"] = json!(id);
        }
        self.token_with(&header, claims)
    }

    /// A token with any header.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token of texts, which may be no JSON.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// A JWK set.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
