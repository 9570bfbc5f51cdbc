//! The keys of tickets, which all nodes share.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};

/// Keys of tickets, newest first. The first signs; all verify.
#[derive(Clone)]
pub struct TicketKeys(Vec<[u8; KEY_BYTES]>, EncodingKey, Vec<DecodingKey>);

/// A text that holds no keys of tickets. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTicketKeys {
    /// There is no line with a key.
    #[error("it has no key")]
    None,
    /// There are too many.
    #[error("it has {0} keys; the limit is {KEYS_MAX}")]
    TooMany(usize),
    /// A line is no key.
    #[error("line {0} is not the base64 of {KEY_BYTES} bytes (openssl rand -base64 {KEY_BYTES})")]
    Line(usize),
}

/// The size of a key, in bytes: that of the hash.
const KEY_BYTES: usize = 32;
/// Keys in one file: each is tried for a ticket.
const KEYS_MAX: usize = 4;

impl TicketKeys {
    /// Reads keys: one a line, newest first, each the base64 of 32 random bytes.
    ///
    /// # Errors
    /// A line is no key, or there are none or too many.
    pub fn parse(text: &str) -> Result<Self, BadTicketKeys> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let key = |(index, line): (usize, &str)| {
            let bytes = STANDARD.decode(line.trim()).map_err(|_| BadTicketKeys::Line(index + 1))?;
            bytes.try_into().map_err(|_| BadTicketKeys::Line(index + 1))
        };
        Self::new(lines.map(key).collect::<Result<_, _>>()?)
    }

    /// A key that only this process knows.
    ///
    /// # Panics
    /// The system has no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).expect("the system has random numbers");
        Self::new(vec![key]).expect("one key is enough")
    }

    fn new(keys: Vec<[u8; KEY_BYTES]>) -> Result<Self, BadTicketKeys> {
        let first = keys.first().ok_or(BadTicketKeys::None)?;
        if keys.len() > KEYS_MAX {
            return Err(BadTicketKeys::TooMany(keys.len()));
        }
        let signing = EncodingKey::from_secret(first);
        let verifying = keys.iter().map(|key| DecodingKey::from_secret(key)).collect();
        Ok(Self(keys, signing, verifying))
    }

    pub(super) const fn signing(&self) -> &EncodingKey {
        &self.1
    }

    pub(super) fn verifying(&self) -> impl Iterator<Item = &DecodingKey> {
        self.2.iter()
    }

    /// These keys, and older ones behind them.
    #[cfg(test)]
    pub(super) fn and(self, older: Self) -> Self {
        Self::new([self.0, older.0].concat()).expect("two keys are not too many")
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_key_is_named_and_not_quoted() {
        let key = STANDARD.encode([7; 32]);
        assert!(TicketKeys::parse(&format!("{key}\n\n{key}\n")).is_ok());
        assert_eq!(TicketKeys::parse("\n").unwrap_err(), BadTicketKeys::None);
        let second = TicketKeys::parse(&format!("{key}\nsecret\n")).unwrap_err();
        assert_eq!(second, BadTicketKeys::Line(2));
        let many = TicketKeys::parse(&format!("{key}\n").repeat(5)).unwrap_err();
        assert_eq!(many, BadTicketKeys::TooMany(5));
        assert_eq!(format!("{:?}", TicketKeys::random()), "TicketKeys(1)");
    }
}
