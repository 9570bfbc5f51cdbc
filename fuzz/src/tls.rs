//! The files of TLS, and the tickets that clients bring.
//!
//! `tailwater` is a program, so no other crate can use its modules, and its four files are included
//! here. A library would be the other way: a second crate root, for nobody but the fuzzer.

#[expect(dead_code, reason = "the files are not read from disk here")]
#[path = "../../crates/tailwater/src/tls/pair.rs"]
mod pair;
#[expect(dead_code, reason = "the file is not read from disk here")]
#[path = "../../crates/tailwater/src/tls/ticket_keys.rs"]
mod ticket_keys;
#[expect(dead_code, reason = "the keys are not replaced here")]
#[path = "../../crates/tailwater/src/tls/ticketer.rs"]
// rustfmt would look for the file's tests beside it.
#[rustfmt::skip]
mod ticketer;
#[path = "../../crates/tailwater/src/tls/validity.rs"]
mod validity;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::server::ProducesTickets as _;

use pair::{Contents, PairFiles};
use ticket_keys::{TicketKeyFile, TicketKeyText};
use ticketer::{KEY_BYTES, TicketKey, Ticketer};

/// The longest message about unusable files, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;
/// The most keys in a file.
const KEYS_MAX: usize = 8;
/// Bytes that a ticket has more than its session: name, salt, nonce, time and tag.
const TICKET_EXTRA_BYTES: usize = 68;
/// The largest ticket that is decrypted, in bytes.
const TICKET_BYTES_MAX: usize = 1024;

/// Reads the expiry of a certificate. Bytes after the certificate change nothing.
pub(crate) fn certificate(bytes: &[u8]) {
    if let Some(time) = validity::not_after(bytes) {
        assert_eq!(validity::not_after(&[bytes, b"rest"].concat()), Some(time));
    }
}

/// Parses a certificate and its key, divided by a zero byte. From 128 on, the first byte says that both
/// are DER, which is put into PEM here, because the fuzzer does not find base64 by itself.
pub(crate) fn pem(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let contents = match first >= 0x80 {
        true => {
            let (size, rest) = rest.split_first_chunk().unwrap_or((&[0; 2], rest));
            let size = usize::from(u16::from_be_bytes(*size)).min(rest.len());
            let (certificate, key) = rest.split_at(size);
            Contents {
                certificate: in_pem("CERTIFICATE", certificate),
                key: in_pem(["PRIVATE KEY", "EC PRIVATE KEY"][usize::from(first % 2)], key),
            }
        }
        false => {
            let mut parts = rest.splitn(2, |byte| *byte == 0).map(<[u8]>::to_vec);
            let mut part = || parts.next().unwrap_or_default();
            Contents { certificate: part(), key: part() }
        }
    };
    let files = PairFiles { certificate: "tls.crt".into(), key: "tls.key".into() };
    if let Err(error) = files.pair(&contents) {
        assert!(error.to_string().len() <= MESSAGE_BYTES_MAX, "{error}");
    }
}

fn in_pem(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der)).into()
}

/// Parses the keys of tickets. No message shows a part of a line.
pub(crate) fn ticket_keys(bytes: &[u8]) {
    let text = TicketKeyText(bytes.to_vec());
    match TicketKeyFile::new("keys".into()).keys(&text) {
        Ok(keys) => assert!((1..=KEYS_MAX).contains(&keys.len()), "{} keys", keys.len()),
        Err(error) => assert!(error.to_string().len() <= MESSAGE_BYTES_MAX, "{error}"),
    }
}

/// Reads a ticket: a forged one and a changed one have no session, a true one has its own.
pub(crate) fn ticket(bytes: &[u8]) {
    let tickets = Ticketer::new(vec![TicketKey::new(&[7; KEY_BYTES])]);
    assert_eq!(tickets.decrypt(bytes), None, "a forged ticket");
    let mut ticket = tickets.encrypt(bytes).expect("the system has random bytes");
    let is_small = bytes.len() + TICKET_EXTRA_BYTES <= TICKET_BYTES_MAX;
    assert_eq!(tickets.decrypt(&ticket), is_small.then(|| bytes.to_vec()));
    let changed = bytes.iter().fold(0, |at, byte| at ^ usize::from(*byte)) % ticket.len();
    ticket[changed] ^= 1;
    assert_eq!(tickets.decrypt(&ticket), None, "byte {changed} was changed");
}
