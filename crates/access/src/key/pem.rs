//! Keys in PEM: all blocks of a file.

use jsonwebtoken::{Algorithm, DecodingKey};

use simple_asn1::ASN1Block;

use super::{BadKey, Key, RSA, check_rsa, of_point, raw};
use crate::Timestamp;

/// Reads the public keys and certificates of a text. Returns them with a warning for each certificate that is
/// over at this time: the key in it serves nevertheless.
pub(super) fn keys(text: &str, now: Timestamp) -> Result<(Vec<Key>, Vec<String>), BadKey> {
    let broken = |error| BadKey::Format(format!("it is no PEM: {error}"));
    let blocks = pem::parse_many(text).map_err(broken)?;
    if blocks.is_empty() {
        return Err(BadKey::Format("it has no PEM block".to_owned()));
    }
    let is_over = |block: &pem::Pem| {
        let end = (block.tag() == CERTIFICATE).then(|| end(block.contents())).flatten();
        end.is_some_and(|end| end < now)
    };
    let over = blocks.iter().enumerate().filter(|(_, block)| is_over(block));
    let warnings = over.map(|(index, _)| {
        format!("the certificate in block {} is over; its key is used nevertheless", index + 1)
    });
    let warnings = warnings.collect();
    Ok((blocks.iter().map(key).collect::<Result<_, _>>()?, warnings))
}

const CERTIFICATE: &str = "CERTIFICATE";

/// The time at which a certificate ends, if it can be read.
fn end(certificate: &[u8]) -> Option<Timestamp> {
    let blocks = simple_asn1::from_der(certificate).ok()?;
    let signed = members(blocks.first()?)?;
    // The first pair of times: no field before the validity has one.
    let end = members(signed.first()?)?.iter().find_map(|field| match members(field)? {
        [
            ASN1Block::UTCTime(..) | ASN1Block::GeneralizedTime(..),
            ASN1Block::UTCTime(_, end) | ASN1Block::GeneralizedTime(_, end),
        ] => Some(*end),
        _ => None,
    })?;
    // An end before 1970 is over, too.
    let seconds = u64::try_from(end.assume_utc().unix_timestamp()).unwrap_or_default();
    Some(Timestamp::from_seconds(seconds))
}

fn members(block: &ASN1Block) -> Option<&[ASN1Block]> {
    match block {
        ASN1Block::Sequence(_, members) => Some(members),
        _ => None,
    }
}

fn key(block: &pem::Pem) -> Result<Key, BadKey> {
    let tag = block.tag();
    if tag.contains("PRIVATE") {
        return Err(BadKey::Private(tag.to_owned()));
    }
    if !["PUBLIC KEY", "RSA PUBLIC KEY", CERTIFICATE].contains(&tag) {
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
