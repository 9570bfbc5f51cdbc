//! Keys in PEM: all blocks of a file.

use jsonwebtoken::{Algorithm, DecodingKey};

use super::{BadKey, Key, RSA, check_rsa, of_point, raw};

/// Reads the public keys and certificates of a text.
pub(super) fn keys(text: &str) -> Result<Vec<Key>, BadKey> {
    let broken = |error| BadKey::Format(format!("it is no PEM: {error}"));
    let blocks = pem::parse_many(text).map_err(broken)?;
    if blocks.is_empty() {
        return Err(BadKey::Format("it has no PEM block".to_owned()));
    }
    blocks.iter().map(key).collect()
}

fn key(block: &pem::Pem) -> Result<Key, BadKey> {
    let tag = block.tag();
    if tag.contains("PRIVATE") {
        return Err(BadKey::Private(tag.to_owned()));
    }
    if !["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"].contains(&tag) {
        return Err(BadKey::Unsupported(format!(
            "a PEM block is {tag:?}; it must be PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE"
        )));
    }
    let text = pem::encode(block);
    if let Ok(decoding) = DecodingKey::from_rsa_pem(text.as_bytes()) {
        let bits = rsa_bits(&decoding)?;
        check_rsa(bits)?;
        return Ok(Key::new(None, &RSA, decoding));
    }
    if let Ok(decoding) = DecodingKey::from_ec_pem(text.as_bytes()) {
        let algorithm = of_point(raw(&decoding).len())?;
        return Ok(Key::new(None, &[algorithm], decoding));
    }
    if let Ok(decoding) = DecodingKey::from_ed_pem(text.as_bytes())
        && raw(&decoding).len() == 32
    {
        return Ok(Key::new(None, &[Algorithm::EdDSA], decoding));
    }
    Err(BadKey::Unsupported(format!(
        "a PEM block {tag:?} is no RSA, P-256, P-384 or Ed25519 key (Ed448 and ES512 are not \
         supported)"
    )))
}

fn rsa_bits(key: &DecodingKey) -> Result<usize, BadKey> {
    let der = aws_lc_rs::rsa::PublicKey::from_der(raw(key));
    let der = der.map_err(|_| BadKey::Format("an RSA key cannot be read".to_owned()))?;
    Ok(super::bits(der.modulus().big_endian_without_leading_zero()))
}
