#!/usr/bin/env bash
# jsonwebtoken 11.1.0 with aws-lc-rs 1.19.0: an Ed25519 key that signs has no public key, if it is PKCS#8 of version 2.
#
# aws-lc-rs makes Ed25519 keys as PKCS#8 of version 2 (RFC 5958), which holds the public key beside the private one: 83
# bytes. jsonwebtoken takes it as an EncodingKey and signs with it. But Jwk::from_encoding_key, which is to give the public
# key, tells curves apart by the length of the document and knows the 48 bytes of version 1 only: the same key is refused
# as InvalidEddsaKey. So a service that makes its key by the one call and publishes its key set by the other fails, and one
# whose key came from openssl (version 1) works. P-256 keys of the same library have no such difference.
#
# Seen on 2026-11-27, twice:
#   v1 48 bytes: signs, has a JWK
#   v2 83 bytes: signs, InvalidEddsaKey
#   P-256: signs, has a JWK
#
# Needs cargo and crates.io. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "seen"
version = "0.0.0"
edition = "2024"

[dependencies]
aws-lc-rs = "=1.19.0"
jsonwebtoken = { version = "=11.1.0", default-features = false, features = ["aws_lc_rs"] }
serde_json = "1"

[profile.dev.package."*"]
debug = false
TOML
cat >src/main.rs <<'RUST'
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

fn say(key: &EncodingKey, algorithm: Algorithm) -> String {
    let token = encode(&Header::new(algorithm), &serde_json::json!({}), key);
    let signs = if token.is_ok() { "signs" } else { "does not sign" };
    let jwk = match Jwk::from_encoding_key(key, algorithm) {
        Ok(_) => "has a JWK".to_owned(),
        Err(error) => format!("{error:?}").split('(').next_back().unwrap().trim_end_matches(')').to_owned(),
    };
    format!("{signs}, {jwk}")
}

fn main() {
    let random = SystemRandom::new();
    let v1 = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
    let v2 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    for (name, document) in [("v1", v1.as_ref()), ("v2", v2.as_ref())] {
        let key = EncodingKey::from_ed_der(document);
        println!("{name} {} bytes: {}", document.len(), say(&key, Algorithm::EdDSA));
    }
    println!("P-256: {}", say(&EncodingKey::from_ec_der(ec.as_ref()), Algorithm::ES256));
}
RUST
out=$(cargo run --quiet 2>/dev/null)
echo "$out"
expected='v1 48 bytes: signs, has a JWK
v2 83 bytes: signs, InvalidEddsaKey
P-256: signs, has a JWK'
[ "$out" = "$expected" ]
