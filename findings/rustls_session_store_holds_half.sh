#!/usr/bin/env bash
# rustls 0.23.46: a server's session store "of 256" lets only the last 128 connections of TLS 1.3 resume.
#
# `ServerConfig` without a ticketer keeps sessions in `ServerSessionMemoryCache::new(256)`, its default. The server
# sends two tickets for each TLS 1.3 handshake (`send_tls13_tickets`), and each ticket takes an entry of its own. So
# the store is full after 128 clients, and the oldest sessions go first: of 256 clients that connect and return, the
# first 128 do a full handshake. The number in the constructor counts tickets, not clients. `send_tls13_tickets = 1`
# doubles the clients that can resume, and TLS 1.2, which stores one session for each handshake, fits all 256.
#
# Seen on 2026-11-27, rustc 1.95.0, rustls 0.23.46 with ring, twice:
#   TLS 1.3, two tickets: 128 of 256 clients resume, the first is number 128
#   TLS 1.3, one ticket: 256 of 256 clients resume, the first is number 0
#   TLS 1.2: 256 of 256 clients resume, the first is number 0
#
# Needs cargo and the crates.io registry. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "sessions"
version = "0.0.0"
edition = "2021"

[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std", "tls12"] }
rcgen = { version = "=0.14.5", default-features = false, features = ["ring"] }
TOML
cat >src/main.rs <<'RUST'
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

const CLIENTS: usize = 256;

/// Connects in memory and hands over everything that both sides have to say, the tickets included.
fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    loop {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        let mut bytes = &to_server[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        let mut bytes = &to_client[..];
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets().unwrap();
        }
        if to_server.is_empty() && to_client.is_empty() {
            return server.handshake_kind().unwrap();
        }
    }
}

fn check(name: &str, version: &'static SupportedProtocolVersion, tickets: usize) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.send_tls13_tickets = tickets;
    let server = Arc::new(server);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            client.resumption = Resumption::in_memory_sessions(8);
            Arc::new(client)
        })
        .collect();
    for client in &clients {
        assert_eq!(connect(client, &server), HandshakeKind::Full);
    }
    // The newest first: a client that resumes stores new sessions, which would push out others'.
    let resumed: Vec<usize> = (0..CLIENTS)
        .filter(|number| {
            let kept = server.session_storage.clone();
            let mut again = (*server).clone();
            again.session_storage = kept;
            again.send_tls13_tickets = 0;
            connect(&clients[*number], &Arc::new(again)) == HandshakeKind::Resumed
        })
        .collect();
    println!(
        "{name}: {} of {CLIENTS} clients resume, the first is number {}",
        resumed.len(),
        resumed[0]
    );
}

fn main() {
    check("TLS 1.3, two tickets", &rustls::version::TLS13, 2);
    check("TLS 1.3, one ticket", &rustls::version::TLS13, 1);
    check("TLS 1.2", &rustls::version::TLS12, 2);
}
RUST
cargo build --release --quiet
target/release/sessions | tee seen
cat >expected <<'TEXT'
TLS 1.3, two tickets: 128 of 256 clients resume, the first is number 128
TLS 1.3, one ticket: 256 of 256 clients resume, the first is number 0
TLS 1.2: 256 of 256 clients resume, the first is number 0
TEXT
diff expected seen
echo "as described"
