//! Tokens for the readers and publishers of a node that demands them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::topic::{TOPICS, numbered};

/// The signature of the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// Elliptic curves.
    Es256,
    /// Ed25519.
    EdDsa,
    /// A secret that the node has, too.
    Hs256,
}

/// The rights in a token, in the claims of the server that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything, on Tailwater.
    All,
    /// To read one topic, on Tailwater.
    Topic,
    /// To read one topic and to publish everything, on Mercure.
    MercureTopic,
    /// To read one topic, on Centrifugo.
    CentrifugoTopic,
}

/// A key, and a token for each of many subjects.
#[derive(Debug)]
pub struct Mint {
    signature: Signature,
    /// The text of the file for `--auth-keys`.
    keys: String,
    tokens: Vec<String>,
    check: DecodingKey,
}

/// Subjects, each with a token of its own: as many as the readers of a phase.
pub const SUBJECTS: usize = 5000;
/// The key of all tokens by HS256.
pub const SECRET: &str = "a secret of the bench, longer than 32 bytes";
/// The life of a token: longer than any run.
const LIFE: Duration = Duration::from_hours(24);
const ISSUER: &str = "https://issuer.example/";
const AUDIENCE: &str = "tailwater";
const KEY_ID: &str = "bench";
/// Verifications that are timed one after the other.
const VERIFIED: u32 = 2000;

impl Signature {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
        }
    }
}

impl Rights {
    /// The claim of a subject, and its name.
    fn claim(self, number: usize) -> (&'static str, Value) {
        let topics = [numbered(TOPICS, number)];
        match self {
            Self::All => ("tailwater", json!({ "subscribe": ["**"], "publish": ["**"] })),
            Self::Topic => ("tailwater", json!({ "subscribe": topics })),
            Self::MercureTopic => ("mercure", json!({ "subscribe": topics, "publish": ["*"] })),
            Self::CentrifugoTopic => ("channels", json!(topics)),
        }
    }
}

impl Mint {
    /// The mint of this process for a signature.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn of(signature: Signature) -> Result<&'static Self> {
        static MINTS: [OnceLock<Mint>; 3] = [const { OnceLock::new() }; 3];
        Self::once(&MINTS[signature as usize], signature, Rights::All)
    }

    /// The mint of this process for tokens by HS256 with these rights: a subject has the right to
    /// read the topic of its number.
    ///
    /// # Errors
    /// When a token cannot be made.
    pub fn of_topics(rights: Rights) -> Result<&'static Self> {
        static MINTS: [OnceLock<Mint>; 4] = [const { OnceLock::new() }; 4];
        Self::once(&MINTS[rights as usize], Signature::Hs256, rights)
    }

    fn once(
        place: &'static OnceLock<Mint>,
        signature: Signature,
        rights: Rights,
    ) -> Result<&'static Self> {
        if let Some(mint) = place.get() {
            return Ok(mint);
        }
        let mint = Self::new(signature, rights)?;
        Ok(place.get_or_init(|| mint))
    }

    fn new(signature: Signature, rights: Rights) -> Result<Self> {
        let (random, algorithm) = (SystemRandom::new(), signature.algorithm());
        let no_key = "a key cannot be made";
        let sign = match signature {
            Signature::Es256 => {
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::generate_pkcs8(curve, &random).context(no_key)?;
                EncodingKey::from_ec_der(pair.as_ref())
            }
            Signature::EdDsa => {
                // `Jwk::from_encoding_key` refuses version 2, which has the public key too.
                let pair = Ed25519KeyPair::generate_pkcs8v1(&random).context(no_key)?;
                EncodingKey::from_ed_der(pair.as_ref())
            }
            Signature::Hs256 => EncodingKey::from_secret(SECRET.as_bytes()),
        };
        let (keys, check) = match signature {
            Signature::Hs256 => (SECRET.to_owned(), DecodingKey::from_secret(SECRET.as_bytes())),
            Signature::Es256 | Signature::EdDsa => {
                let mut key = Jwk::from_encoding_key(&sign, algorithm)?;
                key.common.key_id = Some(KEY_ID.to_owned());
                let check = DecodingKey::from_jwk(&key)?;
                (serde_json::to_string(&JwkSet { keys: vec![key] })?, check)
            }
        };
        let mut header = Header::new(algorithm);
        header.kid = (signature != Signature::Hs256).then(|| KEY_ID.to_owned());
        let expires = SystemTime::now() + LIFE;
        let expires = expires.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let token = |number| {
            let mut claims = json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": format!("subject-{number}"), "exp": expires,
                "jti": format!("{number:016x}"),
            });
            let (name, grants) = rights.claim(number);
            claims[name] = grants;
            Ok(encode(&header, &claims, &sign)?)
        };
        let tokens = (0..SUBJECTS).map(token).collect::<Result<_>>()?;
        Ok(Self { signature, keys, tokens, check })
    }

    /// Writes the file of keys, and returns the flags of a node that demands these tokens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flags(&self, directory: &Path) -> Result<Vec<String>> {
        std::fs::create_dir_all(directory)?;
        let file: PathBuf = directory.join("keys");
        std::fs::write(&file, &self.keys)?;
        let file = file.display().to_string();
        let flags = [
            ("--auth-keys", file.as_str()),
            ("--auth-issuer", ISSUER),
            ("--auth-audience", AUDIENCE),
        ];
        Ok(flags.iter().flat_map(|(flag, value)| [*flag, *value]).map(str::to_owned).collect())
    }

    /// The token of a subject; they repeat after the last.
    pub fn token(&self, number: usize) -> &str {
        &self.tokens[number % self.tokens.len()]
    }

    /// Measures one verification alone: CPU microseconds of this thread.
    ///
    /// # Errors
    /// When a token is not accepted.
    pub fn verify_us(&self) -> Result<f64> {
        let mut rules = Validation::new(self.signature.algorithm());
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        let begin = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        for number in 0..VERIFIED as usize {
            let _claims = decode::<Value>(self.token(number), &self.check, &rules)?;
        }
        let time = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - begin);
        Ok(time.as_secs_f64() * 1e6 / f64::from(VERIFIED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mint_makes_tokens_that_its_key_verifies() {
        for signature in [Signature::Es256, Signature::EdDsa, Signature::Hs256] {
            let mint = Mint::of(signature).unwrap();
            assert!(mint.verify_us().unwrap() > 0.0);
            assert_ne!(mint.token(0), mint.token(1));
        }
    }

    #[test]
    fn a_subject_of_one_topic_may_read_no_other() {
        let all = [Rights::Topic, Rights::MercureTopic, Rights::CentrifugoTopic];
        for rights in all {
            let (_, grants) = rights.claim(7);
            let topics = grants.get("subscribe").unwrap_or(&grants);
            assert_eq!(topics, &json!(["bench-00007"]));
            assert!(Mint::of_topics(rights).unwrap().verify_us().unwrap() > 0.0);
        }
    }
}
