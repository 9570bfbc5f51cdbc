//! The form of a token, before anything is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::denied::Reason;
use crate::key::Loaded;

/// The parts of a token's header that choose its key.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) algorithm: Algorithm,
    /// The id of the key, if it names one.
    pub(super) key: Option<String>,
    kind: Option<String>,
}

/// The header of a token, as far as it matters.
#[derive(Debug, Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    // Members that demand more than a plain signature: true for one that is there, whatever its value.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
    #[serde(default, deserialize_with = "is_there")]
    b64: bool,
    #[serde(default, deserialize_with = "is_there")]
    enc: bool,
    #[serde(default, deserialize_with = "is_there")]
    zip: bool,
}

fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// The largest token, in bytes: a browser's whole head has no more.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The longest id of a key, in bytes: it is compared, logged and remembered.
const KEY_ID_BYTES_MAX: usize = 256;

impl Shape {
    /// The type that the header names.
    pub(super) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// # Errors
    /// The text is no signed token, or demands an extension.
    pub(super) fn of(token: &str) -> Result<Self, Reason> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        if token.split('.').count() != 3 {
            return Err(Reason::NotJwt);
        }
        let Header { alg, kid, typ, crit, b64, enc, zip } =
            read(token).ok_or_else(|| fault(token))?;
        if crit || b64 || enc || zip {
            return Err(Reason::Critical);
        }
        if kid.as_ref().is_some_and(|kid| kid.len() > KEY_ID_BYTES_MAX) {
            return Err(Reason::UnknownKey);
        }
        Ok(Self { algorithm: alg, key: kid, kind: typ })
    }

    /// Returns true if one of these keys has the id that the token names.
    pub(super) fn is_named_in(&self, rings: &[Loaded]) -> bool {
        let mut keys = rings.iter().flat_map(|ring| ring.keys.iter());
        self.key.is_some() && keys.any(|key| key.id() == self.key.as_deref())
    }

    /// Returns true if the header's `typ` is one of these, or none is demanded. `application/` may be left out.
    pub(super) fn is_of(&self, types: &[String]) -> bool {
        let bare = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.strip_prefix("application/").map_or_else(|| text.clone(), str::to_owned)
        };
        let own = self.kind.as_deref().map(bare);
        types.is_empty() || types.iter().any(|one| Some(bare(one)) == own)
    }
}

/// The reason why a header cannot be read.
fn fault(token: &str) -> Reason {
    let Some(header) = header(token) else { return Reason::NotJwt };
    match header.get("alg").map(|named| Algorithm::deserialize(named).is_ok()) {
        Some(false) => Reason::Algorithm,
        None | Some(true) => Reason::NotJwt,
    }
}

/// The members of a token's header.
pub(super) fn header(token: &str) -> Option<Map<String, Value>> {
    read(token)
}

fn read<T: DeserializeOwned>(token: &str) -> Option<T> {
    let encoded = token.split('.').next()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}
