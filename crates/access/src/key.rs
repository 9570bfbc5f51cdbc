//! Keys that verify tokens.

mod jwk;
mod pem;
mod ring;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

pub use jwk::parse_set;
pub use ring::KeyRing;
pub(crate) use ring::Loaded;

use crate::Timestamp;
use crate::key::jwk::Origin;

/// A key, checked when it was loaded.
#[derive(Clone)]
pub struct Key {
    /// Its id, which a token names; a key without one serves every token of its family.
    id: Option<Box<str>>,
    /// The algorithms that it can verify.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// A file or a set that has no usable key. Never quotes a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is too long.
    #[error("it has {0} bytes; the limit is {max}", max = KEYS_BYTES_MAX)]
    TooLarge(usize),
    /// The secret is too short to resist guessing.
    #[error("the secret has {0} bytes; it must have at least {min}", min = SECRET_BYTES_MIN)]
    ShortSecret(usize),
    /// The text after `base64:` is not base64.
    #[error("the text after base64: is no base64")]
    Base64,
    /// The text begins like a key but is none.
    #[error("{0}")]
    Format(String),
    /// A node verifies tokens and must not be able to sign them.
    #[error("it holds a private key ({0}); give the public key alone")]
    Private(String),
    /// The key is of a kind or size that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// No key of a set can be used.
    #[error("none of its {0} keys can be used: {1}")]
    NoKey(usize, String),
}

/// The largest file or set, in bytes: about forty RSA keys with their certificates.
pub const KEYS_BYTES_MAX: usize = 64 * 1024;
/// The shortest secret, in bytes: as long as the hash of HS256 (RFC 7518, 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// The bits of an RSA key: fewer are weak, and more cost a verification milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

impl Key {
    fn new(id: Option<&str>, algorithms: &[Algorithm], decoding: DecodingKey) -> Self {
        Self { id: id.map(Into::into), algorithms: algorithms.to_vec(), decoding }
    }

    /// Reads the keys of a file: PEM, a JWK, a JWK set, or a secret. Returns them with a warning for each
    /// member of a set that cannot be used, and for each certificate that is over.
    ///
    /// # Errors
    /// The file has no usable key.
    pub fn read_file(text: &str) -> Result<(Vec<Self>, Vec<String>), BadKey> {
        let trimmed = text.trim_start_matches('\u{feff}').trim();
        if trimmed.is_empty() {
            return Err(BadKey::Empty);
        }
        if text.len() > KEYS_BYTES_MAX {
            return Err(BadKey::TooLarge(text.len()));
        }
        if trimmed.contains("-----BEGIN") {
            return pem::keys(trimmed, Timestamp::now());
        }
        if trimmed.starts_with(['{', '[']) {
            return jwk::keys(trimmed, Origin::File);
        }
        Ok((vec![secret(trimmed)?], Vec::new()))
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The algorithms that it can verify.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub(crate) const fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = f.debug_struct("Key");
        key.field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

fn secret(text: &str) -> Result<Key, BadKey> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let bytes = match text.strip_prefix("base64:") {
        Some(encoded) => {
            let encoded = encoded.trim();
            let plain = || URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
            STANDARD.decode(encoded).or_else(|_| plain()).map_err(|_| BadKey::Base64)?
        }
        None => text.as_bytes().to_vec(),
    };
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(BadKey::ShortSecret(bytes.len()));
    }
    Ok(Key::new(None, &HMAC, DecodingKey::from_secret(&bytes)))
}

/// The algorithm of an elliptic curve, by the bytes of its uncompressed point.
fn of_point(bytes: usize) -> Result<Algorithm, BadKey> {
    match bytes {
        65 => Ok(Algorithm::ES256),
        97 => Ok(Algorithm::ES384),
        133 => Err(BadKey::Unsupported(
            "curve P-521 (ES512) is not supported; use ES256, ES384 or EdDSA".to_owned(),
        )),
        other => Err(BadKey::Unsupported(format!("an elliptic-curve point has {other} bytes"))),
    }
}

fn check_rsa(bits: usize) -> Result<(), BadKey> {
    let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
    let refused = || {
        BadKey::Unsupported(format!("an RSA key has {bits} bits; it must have {least} to {most}"))
    };
    RSA_BITS.contains(&bits).then_some(()).ok_or_else(refused)
}

/// The bits of a number in big-endian bytes.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let first = significant.clone().next().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    (significant.count().saturating_sub(1)) * 8 + first
}

/// The bytes of a key that is no pair of numbers.
fn raw(key: &DecodingKey) -> &[u8] {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => bytes,
        DecodingKeyKind::RsaModulusExponent { n, .. } => n,
    }
}

#[cfg(test)]
mod tests;
