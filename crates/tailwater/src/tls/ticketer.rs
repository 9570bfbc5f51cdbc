//! Session tickets that every node with the same keys can read.
//!
//! A ticket is a session that its client keeps for the server, encrypted:
//!
//! ```text
//! name of the key (16) | salt (16) | nonce (12) | AES-256-GCM(time (8) | session) | tag (16)
//! ```
//!
//! The key of one ticket is derived from the shared key and the salt. Salt and nonce together are 224
//! random bits, so that a whole fleet can use one key for as long as it likes; a random nonce of 96 bits
//! alone should not be used more than 2^32 times with one key, which is some days for a large fleet.
//!
//! Absent: a store of tickets that were used. A ticket may be used twice, so early data (0-RTT), which
//! an attacker can replay, is never accepted: a POST that is replayed publishes again.

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

/// The age at which a ticket is refused. A client gets its tickets when it connects and needs them when
/// the connection ends: a day covers the default `--max-age` of 30 minutes and a night with the lid
/// closed. TLS 1.3 allows seven days, but a client that resumes does not look at the certificate again.
const LIFETIME: Duration = Duration::from_hours(24);

/// Longest ticket that is read. A session has its server's name (255 bytes at most), a secret of 48, the
/// protocol and some numbers, and no client certificate.
const TICKET_BYTES_MAX: usize = 1024;

/// One shared key.
pub(super) struct TicketKey {
    /// Tells a reader of a ticket which key to take. Derived from the key, so it is the same everywhere.
    name: [u8; NAME_BYTES],
    root: Prk,
}

/// Shows no key.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

/// The length of a name, for the derivation.
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

    /// The key of the one ticket that has this salt.
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

    /// The session in `sealed`, which follows salt and nonce.
    fn open(&self, salt: &[u8], nonce: &[u8], sealed: &[u8], now: Duration) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.of_ticket(salt).open_in_place(nonce, Aad::from(self.name), &mut sealed);
        let (made_at, session) = plain.ok()?.split_first_chunk::<TIME_BYTES>()?;
        let made_at = Duration::from_secs(u64::from_be_bytes(*made_at));
        // In both directions: the clock of the node that made the ticket may be ahead of this one.
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
    /// A ticketer with at least one key. The first one encrypts, all decrypt.
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
        // The name is public: every ticket shows it.
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
