//! The part of a request in the presence of its topics: `presence` and `client`.

use crate::error::BadRequest;

/// The part of a request in the presence of its topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PresenceWish {
    /// True if the stream is to tell who joins and leaves.
    pub(crate) watches: bool,
    /// The name that a client has chosen for itself: a subject with several clients is several members.
    pub(crate) client: Option<Box<str>>,
}

/// The longest name of a client, in bytes.
const CLIENT_BYTES_MAX: usize = 64;

impl PresenceWish {
    pub(super) fn set_watches(&mut self, value: &str) -> Result<(), BadRequest> {
        self.watches = match value {
            "1" => true,
            "0" => false,
            _ => return Err(BadRequest::value("presence", value, "1 or 0")),
        };
        Ok(())
    }

    pub(super) fn set_client(&mut self, value: &str) -> Result<(), BadRequest> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        if value.is_empty() || value.len() > CLIENT_BYTES_MAX || !value.bytes().all(fits) {
            let allowed = "1 to 64 of A-Z a-z 0-9 . _ ~ -";
            return Err(BadRequest::value("client", value, allowed));
        }
        self.client = Some(value.into());
        Ok(())
    }
}
