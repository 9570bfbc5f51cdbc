use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::sample::{Pair, SECRET, set};

fn fault(text: &str) -> String {
    Key::read_file(text).unwrap_err().to_string()
}

#[test]
fn every_block_of_a_pem_file_is_a_key() {
    let text =
        format!("a note\r\n{}{}{}", Pair::rsa().public, Pair::ec().public, Pair::ed().public);
    let (keys, _) = Key::read_file(&text).unwrap();
    let algorithms: Vec<_> = keys.iter().map(Key::algorithms).collect();
    assert_eq!(algorithms, [&RSA[..], &[Algorithm::ES256], &[Algorithm::EdDSA]]);
    assert!(keys.iter().all(|key| key.id().is_none()));
}

#[test]
fn a_secret_is_long_and_no_key_of_another_kind() {
    let encoded = format!("base64:{}\n", STANDARD.encode([7_u8; 32]));
    for good in [SECRET, &encoded] {
        let (keys, _) = Key::read_file(good).unwrap();
        assert_eq!(keys[0].algorithms(), HMAC);
    }
    assert_eq!(fault(" \n"), BadKey::Empty.to_string());
    assert_eq!(fault("short"), BadKey::ShortSecret(5).to_string());
    assert_eq!(fault(&format!("base64:{}", STANDARD.encode([7_u8; 31]))), {
        BadKey::ShortSecret(31).to_string()
    });
    assert_eq!(fault("base64:!"), BadKey::Base64.to_string());
    assert_eq!(fault(&"x".repeat(KEYS_BYTES_MAX + 1)), {
        BadKey::TooLarge(KEYS_BYTES_MAX + 1).to_string()
    });
    // These are longer than a secret must be, and would be taken as one.
    let key = Pair::ec().public;
    assert!(fault(key.trim_end().trim_end_matches("-----END PUBLIC KEY-----")).contains("PEM"));
    assert!(fault("{\"k\": \"a text that is much longer than 32 bytes\"").contains("no JSON"));
    assert!(fault("[\"a text that is much longer than 32 bytes\"]").contains("JSON object"));
}

#[test]
fn a_private_key_is_refused_by_name_and_not_quoted() {
    for tag in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        let text = pem_of(tag, b"sesame sesame sesame");
        let error = fault(&text);
        assert!(error.contains(tag) && !error.contains(&STANDARD.encode("sesame")), "{error}");
    }
    let mut jwk = Pair::ec().jwk("a");
    jwk["d"] = json!("sesame");
    let error = fault(&jwk.to_string());
    assert!(error.contains("private key") && !error.contains("sesame"), "{error}");
    assert!(fault(&pem_of("X509 CRL", b"x")).contains("X509 CRL"));
    assert!(fault(&pem_of("PUBLIC KEY", b"nonsense")).contains("Ed448"));
}

fn pem_of(tag: &str, bytes: &[u8]) -> String {
    ::pem::encode(&::pem::Pem::new(tag, bytes))
}

/// A certificate of a P-256 key, good for a hundred years.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBiDCCAS+gAwIBAgIUS3IIOSCv8LEFY54cfWvYH12XAh8wCgYIKoZIzj0EAwIw\n\
GTEXMBUGA1UEAwwOaXNzdWVyLmV4YW1wbGUwIBcNMjYxMTI3MjAwMDQxWhgPMjEy\n\
NjExMDMyMDAwNDFaMBkxFzAVBgNVBAMMDmlzc3Vlci5leGFtcGxlMFkwEwYHKoZI\n\
zj0CAQYIKoZIzj0DAQcDQgAEKxd3j1Bpq0RzIkGInoEddMx7qYSfBZZf9X5RoS0a\n\
WRm68uAGdalpIIXQ2r19ejKgK17/nknGAWxwPaVuUaz7TKNTMFEwHQYDVR0OBBYE\n\
FDHgLCFI3i0vrL7h04HJl3fEjSNFMB8GA1UdIwQYMBaAFDHgLCFI3i0vrL7h04HJ\n\
l3fEjSNFMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgZcxymAAw\n\
S4eBETNzUWbjq8BOBViYgFW0poFzt3heYhMCIBegGPgbMaUG21/P9W41HlD2LMf0\n\
KGEgE4p/bPmGgSfC\n\
-----END CERTIFICATE-----\n\n";

#[test]
fn a_certificate_that_is_over_is_taken_with_a_warning() {
    let (keys, warnings) = Key::read_file(CERTIFICATE).unwrap();
    assert_eq!(keys[0].algorithms(), [Algorithm::ES256]);
    assert_eq!(warnings, Vec::<String>::new());
    let text = format!("{}{CERTIFICATE}", Pair::ed().public);
    let (keys, warnings) =
        super::pem::keys(&text, Timestamp::parse("2200-01-01T00:00:00Z").unwrap()).unwrap();
    let [only] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(keys.len() == 2 && only.contains("block 2 is over"), "{only}");
}

#[test]
fn odd_members_of_a_set_are_left_out_and_the_others_serve() {
    let with = |name: &str, value: Value| {
        let mut jwk = Pair::ec().jwk("odd");
        jwk[name] = value;
        jwk
    };
    let number = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff_u8; bytes]);
    let rsa = |bytes: usize| json!({"kty": "RSA", "n": number(bytes), "e": "AQAB"});
    for (odd, reason) in [
        (json!(null), "no object"),
        (json!({}), "no kty"),
        (json!({"kty": "AKP", "alg": "ML-DSA-44"}), "kty is not supported"),
        (json!({"kty": "OKP", "crv": "Ed448", "x": number(57)}), "curve is not supported"),
        (json!({"kty": "EC", "crv": "secp256k1", "x": number(32), "y": number(32)}), "curve"),
        (json!({"kty": "EC", "crv": "P-521", "x": number(66), "y": number(66)}), "curve"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": number(31)}), "32 bytes"),
        (json!({"kty": "oct", "k": number(32)}), "secret"),
        (rsa(128), "1024 bits"),
        (rsa(1025), "8200 bits"),
        (json!({"kty": "RSA", "n": number(256)}), "exponent"),
        (json!({"kty": "RSA", "n": "a=b", "e": "AQAB"}), "base64url"),
        (with("use", json!("enc")), "use is not sig"),
        (with("use", json!(1)), "use is no text"),
        (with("kid", json!(7)), "kid is no text"),
        (with("key_ops", json!(["encrypt"])), "key_ops"),
        (with("key_ops", json!("verify")), "key_ops"),
        (with("alg", json!("RS512")), "alg"),
        (with("alg", json!("Ed25519")), "alg"),
        (with("x", json!(number(31))), "32 bytes"),
    ] {
        let text = set(&[odd.clone(), Pair::ec().jwk("good")]);
        let (keys, skipped) = parse_set(&text).unwrap();
        assert_eq!(keys.iter().map(Key::id).collect::<Vec<_>>(), [Some("good")], "{odd}");
        let [only] = &skipped[..] else { panic!("{odd}: {skipped:?}") };
        assert!(only.contains("key 1 ") && only.contains(reason), "{odd}: {only}");
        let alone = parse_set(&set(&[odd])).unwrap_err();
        assert!(matches!(alone, BadKey::NoKey(1, _)), "{alone}");
    }
}

#[test]
fn a_key_without_an_algorithm_has_those_of_its_kind() {
    let mut jwk = Pair::rsa().jwk("a");
    assert_eq!(parse_set(&set(&[jwk.clone()])).unwrap().0[0].algorithms(), [Algorithm::RS256]);
    jwk.as_object_mut().unwrap().remove("alg");
    assert_eq!(parse_set(&set(&[jwk.clone()])).unwrap().0[0].algorithms(), RSA);
    let (keys, _) = Key::read_file(&jwk.to_string()).unwrap();
    assert_eq!(keys[0].id(), Some("a"), "a file may hold one key without a set");
    assert!(parse_set(&jwk.to_string()).is_err(), "a server sends a set");
}

#[test]
fn a_secret_in_a_set_is_for_files_alone() {
    let secret = json!({"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let (keys, _) = Key::read_file(&set(std::slice::from_ref(&secret))).unwrap();
    assert_eq!(keys[0].algorithms(), HMAC);
    assert!(parse_set(&set(&[secret])).is_err());
    let short = json!({"kty": "oct", "k": "c2hvcnQ"});
    assert!(fault(&short.to_string()).contains("at least 32"));
}

#[test]
fn a_text_that_is_no_set_is_refused_with_its_reason() {
    let map = json!({"kid": "-----BEGIN CERTIFICATE-----\nx"}).to_string();
    for (text, reason) in [
        ("nonsense", "no JSON"),
        ("[]", "JSON object"),
        ("{}", "no member"),
        ("{\"keys\": 1}", "no list"),
        (&map, "Firebase"),
        (&set(&vec![json!(1); 101]), "101 keys"),
    ] {
        let error = parse_set(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    assert!(parse_set(&" ".repeat(KEYS_BYTES_MAX + 1)).is_err());
}

#[test]
fn a_key_is_not_shown() {
    let key = Key::read_file(SECRET).unwrap().0.remove(0);
    let shown = format!("{key:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("97, 32, 115"), "{shown}");
}
