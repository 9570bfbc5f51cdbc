#!/usr/bin/env bash
# rustls 0.23.46: a node cannot use an X.509 version 1 certificate as its own client certificate, although nobody verifies it
# here and OpenSSL uses it.
#
# `openssl x509 -req` without an extension file makes version 1 (up to OpenSSL 3.1, as in Debian 12), and that is how most
# walk-throughs make the client's certificate for Redis, Postgres or MQTT. Python (OpenSSL) loads the pair, and a server that
# demands it is content. rustls parses its own certificate to see if it belongs to the key, the parser takes version 3 alone,
# and the error blames a peer: "invalid peer certificate: Other(OtherError(UnsupportedCertVersion))", before any peer is
# there. With any extension, `subjectAltName` for example, the certificate is version 3 and works.
#
# Seen on 2026-11-28, rustls 0.23.46, rustls-pki-types 1, OpenSSL 3.0.19, Python 3.11, twice:
#   v1: python ok | rustls invalid peer certificate: Other(OtherError(UnsupportedCertVersion))
#   v3: python ok | rustls ok
#
# Needs cargo, python3 and openssl below 3.2. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
openssl req -newkey rsa:2048 -nodes -subj /CN=node -keyout key.pem -out node.csr 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=ours -keyout ca.key -out ca.pem 2>/dev/null
echo 'subjectAltName=DNS:node' >names
for version in v1 v3; do
    [ $version = v1 ] || extensions="-extfile names"
    # shellcheck disable=SC2086 # none or two words
    openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial ${extensions:-} -out $version.pem 2>/dev/null
done

mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "load"
version = "0.0.0"
edition = "2021"
[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std", "tls12"] }
TOML
cat >src/main.rs <<'RUST'
use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let chain = CertificateDer::pem_file_iter(path).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file("key.pem").unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, key);
    println!("{}", config.map_or_else(|error| error.to_string(), |_| "ok".to_owned()));
}
RUST
cargo build --quiet 2>/dev/null
for version in v1 v3; do
    python=$(python3 -c "import ssl; ssl.create_default_context().load_cert_chain('$version.pem', 'key.pem'); print('ok')")
    echo "$version: python $python | rustls $(target/debug/load $version.pem)"
done | tee out
diff - out <<'EXPECTED'
v1: python ok | rustls invalid peer certificate: Other(OtherError(UnsupportedCertVersion))
v3: python ok | rustls ok
EXPECTED
