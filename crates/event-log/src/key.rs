//! Keys: names that publishers give to events.

/// An idempotency key: 1 to 128 bytes of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

/// A text that is not a valid idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The key is empty or longer than [`Key::MAX_BYTES`].
    #[error("an idempotency key has {0} bytes; it must have 1 to {max}", max = Key::MAX_BYTES)]
    Length(usize),
    /// The key has a byte outside visible ASCII.
    #[error("an idempotency key must be visible ASCII without spaces")]
    Char,
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks and returns a key.
    ///
    /// # Errors
    /// Empty, too long, or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(BadKey::Length(text.len()));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadKey::Char);
        }
        Ok(Self(text.into()))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
