//! The form of a token, before anything is verified.

use jsonwebtoken::{Algorithm, Header, decode_header};

use crate::denied::Reason;

/// The parts of a token's header that choose its key.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) algorithm: Algorithm,
    /// The id of the key, if it names one.
    pub(super) key: Option<String>,
    kind: Option<String>,
}

/// The largest token, in bytes: a browser's whole head has no more.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The longest id of a key, in bytes: it is compared, logged and remembered.
const KEY_ID_BYTES_MAX: usize = 256;
/// Members of a header that change what the signature covers.
const UNSUPPORTED: [&str; 1] = ["b64"];

impl Shape {
    /// # Errors
    /// The text is no signed token, or demands an extension.
    pub(super) fn of(token: &str) -> Result<Self, Reason> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        if token.split('.').count() != 3 {
            return Err(Reason::NotJwt);
        }
        let header = decode_header(token).map_err(|error| {
            // An algorithm that the library does not know is an error of its JSON: `none`, ES512.
            match error.kind() {
                jsonwebtoken::errors::ErrorKind::Json(_) => Reason::Algorithm,
                _ => Reason::NotJwt,
            }
        })?;
        let Header { typ, alg, kid, crit, enc, zip, extras, .. } = header;
        let has_extra = |name: &&str| extras.inner().contains_key(*name);
        if crit.is_some() || enc.is_some() || zip.is_some() || UNSUPPORTED.iter().any(has_extra) {
            return Err(Reason::Critical);
        }
        if kid.as_ref().is_some_and(|kid| kid.len() > KEY_ID_BYTES_MAX) {
            return Err(Reason::UnknownKey);
        }
        Ok(Self { algorithm: alg, key: kid, kind: typ })
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
