//! Positions in a server's log of changes.

use std::fmt;

/// A log sequence number: the offset of a byte in the server's log, written as "HIGH/LOW" in hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// Reads a number as Postgres writes it; `None` if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |digits: &str| {
            let fits = digits.len() <= 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            fits.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        Some(Self(half(high)? << 32 | half(low)?))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_as_it_was() {
        for lsn in [0, 1, 0x1_5D5C_9A28, u64::MAX] {
            assert_eq!(Lsn::parse(&Lsn(lsn).to_string()), Some(Lsn(lsn)));
        }
        assert_eq!(Lsn(0x1_5D5C_9A28).to_string(), "1/5D5C9A28");
        for bad in ["", "1", "/", "1/", "+1/0", "1/123456789", "x/0", "1/0/0"] {
            assert_eq!(Lsn::parse(bad), None, "{bad}");
        }
    }
}
