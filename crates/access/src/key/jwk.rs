//! JSON Web Keys, one by one: a member of a set that cannot be used must not shut everybody out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::{BadKey, HMAC, Key, RSA, SECRET_BYTES_MIN, bits, check_rsa};

/// The place from which a key comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of the operator.
    File,
    /// A server, which has no secret to give.
    Server,
}

/// Keys of one set; more are refused, because each may be tried.
const KEYS_MAX: usize = 100;

/// Reads the set of a key server. Returns its usable keys, with a warning for each other.
///
/// # Errors
/// The text is no set, or has no usable key.
pub fn parse_set(text: &str) -> Result<(Vec<Key>, Vec<String>), BadKey> {
    if text.len() > super::KEYS_BYTES_MAX {
        return Err(BadKey::TooLarge(text.len()));
    }
    keys(text, Origin::Server)
}

/// Reads a key or a set of keys.
pub(super) fn keys(text: &str, origin: Origin) -> Result<(Vec<Key>, Vec<String>), BadKey> {
    let format = |message: &str| BadKey::Format(message.to_owned());
    let value: Value = serde_json::from_str(text).map_err(|error| {
        BadKey::Format(format!("it is no JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let Value::Object(object) = value else {
        return Err(format("it is no JWK and no JWK set: it must be a JSON object"));
    };
    let members = match object.get("keys") {
        Some(Value::Array(members)) => members.clone(),
        Some(_) => return Err(format("the member \"keys\" is no list")),
        None if object.contains_key("kty") && origin == Origin::File => {
            vec![Value::Object(object)]
        }
        None if object.values().all(is_certificate) && !object.is_empty() => {
            return Err(format(
                "it maps key ids to certificates; use the address of the JWK set instead (for Firebase \
                 /service_accounts/v1/jwk/securetoken@system.gserviceaccount.com)",
            ));
        }
        None => return Err(format("it is no JWK set: it has no member \"keys\"")),
    };
    if members.len() > KEYS_MAX {
        return Err(BadKey::Format(format!(
            "it has {} keys; the limit is {KEYS_MAX}",
            members.len()
        )));
    }
    let (mut usable, mut skipped) = (Vec::new(), Vec::new());
    for (index, member) in members.iter().enumerate() {
        match key(member, origin) {
            Ok(key) => usable.push(key),
            Err(reason) => skipped.push(format!("key {} is not used: {reason}", index + 1)),
        }
    }
    match usable.is_empty() {
        true => Err(BadKey::NoKey(members.len(), skipped.first().cloned().unwrap_or_default())),
        false => Ok((usable, skipped)),
    }
}

fn is_certificate(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("-----BEGIN CERTIFICATE"))
}

/// Reads one key, or says why it cannot be used.
fn key(member: &Value, origin: Origin) -> Result<Key, String> {
    let object = member.as_object().ok_or("it is no object")?;
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{name} is no text")),
    };
    if object.contains_key("d") {
        return Err("it is a private key".to_owned());
    }
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err("its use is not sig".to_owned());
    }
    let verifies = |value: &Value| match value {
        Value::Array(operations) => operations.iter().any(|one| one == "verify"),
        _ => false,
    };
    if object.get("key_ops").is_some_and(|operations| !verifies(operations)) {
        return Err("its key_ops have no verify".to_owned());
    }
    let (algorithms, decoding) = material(object, text("kty")?, origin)?;
    let algorithms = match text("alg")? {
        None => algorithms,
        Some(named) => {
            let own = algorithms.into_iter().find(|one| format!("{one:?}") == named);
            vec![own.ok_or("its alg does not go with it, or is not supported")?]
        }
    };
    Ok(Key::new(text("kid")?, &algorithms, decoding))
}

/// The key itself, and the algorithms of its kind.
fn material(
    object: &Map<String, Value>,
    kind: Option<&str>,
    origin: Origin,
) -> Result<(Vec<Algorithm>, DecodingKey), String> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let bytes = |name: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(text(name));
        decoded.map_err(|_| format!("{name} is no base64url"))
    };
    let broken = |error: jsonwebtoken::errors::Error| format!("it cannot be read: {error}");
    match (kind, text("crv")) {
        (Some("RSA"), _) => {
            check_rsa(bits(&bytes("n")?)).map_err(|error| error.to_string())?;
            if bits(&bytes("e")?) < 2 {
                return Err("e is no exponent".to_owned());
            }
            let key = DecodingKey::from_rsa_components(text("n"), text("e")).map_err(broken)?;
            Ok((RSA.to_vec(), key))
        }
        (Some("EC"), curve @ ("P-256" | "P-384")) => {
            let (length, algorithm) = match curve {
                "P-256" => (32, Algorithm::ES256),
                _ => (48, Algorithm::ES384),
            };
            if bytes("x")?.len() != length || bytes("y")?.len() != length {
                return Err(format!("x and y must have {length} bytes each"));
            }
            let key = DecodingKey::from_ec_components(text("x"), text("y")).map_err(broken)?;
            Ok((vec![algorithm], key))
        }
        (Some("OKP"), "Ed25519") => {
            if bytes("x")?.len() != 32 {
                return Err("x must have 32 bytes".to_owned());
            }
            let key = DecodingKey::from_ed_components(text("x")).map_err(broken)?;
            Ok((vec![Algorithm::EdDSA], key))
        }
        (Some("oct"), _) if origin == Origin::Server => {
            Err("a server must not give out a secret".to_owned())
        }
        (Some("oct"), _) => {
            let secret = bytes("k")?;
            if secret.len() < SECRET_BYTES_MIN {
                return Err(format!("the secret must have at least {SECRET_BYTES_MIN} bytes"));
            }
            Ok((HMAC.to_vec(), DecodingKey::from_secret(&secret)))
        }
        (Some("EC" | "OKP"), _) => Err("its curve is not supported".to_owned()),
        (Some(_), _) => Err("its kty is not supported".to_owned()),
        (None, _) => Err("it has no kty".to_owned()),
    }
}
