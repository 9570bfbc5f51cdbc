//! Session tickets that every node with the same keys can read.
//!
//! A ticket is an encrypted session that the client stores for the server:
//!
//! ```text
//! name of the key (16) | salt (16) | nonce (12) | AES-256-GCM(time (8) | session) | tag (16)
//! ```
//!
//! The key of each ticket is derived from the shared key and the salt. Salt and nonce together are 224
//! random bits, so a whole fleet can use one key without a time limit. With a random nonce of 96 bits
//! alone, one key should encrypt at most 2^32 tickets, which a large fleet makes in a few days.
//!
//! Absent: a store of used tickets. A ticket can be used twice, so early data (0-RTT) is never accepted:
//! an attacker could replay a POST and publish its events again.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;

/// Bytes of a shared key.
pub(super) const KEY_BYTES: usize = 32;
const NAME_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
const TIME_BYTES: usize = 8;

/// Age at which a ticket is refused. A client gets its tickets when it connects and uses them when the
/// connection ends, so a day covers the default `--max-age` of 30 minutes and a laptop that sleeps
/// overnight. TLS 1.3 allows seven days, but a client that resumes does not check the certificate again.
const LIFETIME: Duration = Duration::from_hours(24);

/// Largest ticket that is decrypted, in bytes. A session holds the server's name (255 bytes at most), a
/// secret of 48 bytes, the protocol and some numbers, and no client certificate.
const TICKET_BYTES_MAX: usize = 1024;

/// One shared key.
pub(super) struct TicketKey {
    /// Identifies the key in a ticket. Derived from the key, so it is the same on all nodes.
    name: [u8; NAME_BYTES],
    root: Prk,
}

/// Shows no key.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

/// The length of a key's name, as the type that HKDF needs.
struct NameLength;

impl KeyType for NameLength {
    fn len(&self) -> usize {
        NAME_BYTES
    }
}

impl TicketKey {
    pub(super) fn new(secret: &[u8; KEY_BYTES]) -> Self {
        let root = Salt::new(HKDF_SHA256, b"tailwater session tickets").extract(secret);
        let mut name = [0; NAME_BYTES];
        root.expand(&[b"name"], NameLength)
            .and_then(|name_of_key| name_of_key.fill(&mut name))
            .expect("16 bytes are less than HKDF can derive");
        Self { name, root }
    }

    /// Derives the key of the ticket with this salt.
    fn of_ticket(&self, salt: &[u8]) -> LessSafeKey {
        let info = [&b"ticket"[..], salt];
        let key =
            self.root.expand(&info, &AES_256_GCM).expect("32 bytes are less than HKDF can derive");
        LessSafeKey::new(UnboundKey::from(key))
    }

    fn seal(&self, session: &[u8], now: Duration) -> Option<Vec<u8>> {
        let mut random = [0; SALT_BYTES + NONCE_LEN];
        SystemRandom::new().fill(&mut random).ok()?;
        let (salt, nonce) = random.split_at(SALT_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;

        let sealed_at = NAME_BYTES + random.len();
        let tag_bytes = AES_256_GCM.tag_len();
        let mut ticket = Vec::with_capacity(sealed_at + TIME_BYTES + session.len() + tag_bytes);
        ticket.extend(self.name);
        ticket.extend(random);
        ticket.extend(now.as_secs().to_be_bytes());
        ticket.extend(session);
        let sealed = &mut ticket[sealed_at..];
        let name = Aad::from(self.name);
        let tag = self.of_ticket(salt).seal_in_place_separate_tag(nonce, name, sealed).ok()?;
        ticket.extend(tag.as_ref());
        Some(ticket)
    }

    /// Decrypts the session in `sealed`, the part of a ticket after salt and nonce.
    fn open(&self, salt: &[u8], nonce: &[u8], sealed: &[u8], now: Duration) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.of_ticket(salt).open_in_place(nonce, Aad::from(self.name), &mut sealed);
        let (made_at, session) = plain.ok()?.split_first_chunk::<TIME_BYTES>()?;
        let made_at = Duration::from_secs(u64::from_be_bytes(*made_at));
        // Absolute, because the clock of the node that made the ticket may be ahead of this one.
        (made_at.abs_diff(now) <= LIFETIME).then(|| session.to_vec())
    }
}

/// Makes and reads tickets with keys that can be replaced.
pub(super) struct Ticketer(RwLock<Arc<[TicketKey]>>);

/// Shows no key.
impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").field("keys", &self.keys().len()).finish_non_exhaustive()
    }
}

impl Ticketer {
    /// Returns a ticketer with at least one key. The first key encrypts, and all keys decrypt.
    pub(super) fn new(keys: Vec<TicketKey>) -> Self {
        assert!(!keys.is_empty(), "a file without keys is refused");
        Self(RwLock::new(keys.into()))
    }

    /// Replaces the keys for the next handshakes.
    pub(super) fn replace(&self, keys: Vec<TicketKey>) {
        assert!(!keys.is_empty(), "a file without keys is refused");
        *self.0.write().expect("no holder of this lock panics") = keys.into();
    }

    fn keys(&self) -> Arc<[TicketKey]> {
        Arc::clone(&self.0.read().expect("no holder of this lock panics"))
    }

    fn open(&self, ticket: &[u8], now: Duration) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (salt, rest) = rest.split_at_checked(SALT_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        // The name is public, so its comparison need not take constant time.
        let keys = self.keys();
        keys.iter().find(|key| key.name == *name)?.open(salt, nonce, sealed, now)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).expect("a day fits")
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.keys().first()?.seal(session, since_1970())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, since_1970())
    }
}

fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

#[cfg(test)]
mod tests;
