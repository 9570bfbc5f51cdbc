//! The share of one address.

use std::fmt;
use std::str::FromStr;

/// The share of every bound that one address may take: more than 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct AddressShare(f64);

/// A text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no share: it must be above 0 and at most 1")]
pub struct BadShare(String);

impl AddressShare {
    /// One address may take everything.
    pub const ALL: Self = Self(1.0);

    /// Returns the share of a bound, at least 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a bound need not be exact above 2^52"
    )]
    pub fn of(self, max: u64) -> u64 {
        if self.0 >= 1.0 { max } else { ((max as f64 * self.0).ceil() as u64).max(1).min(max) }
    }
}

impl Default for AddressShare {
    /// Half, so that one address never takes everything.
    fn default() -> Self {
        Self(0.5)
    }
}

impl FromStr for AddressShare {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let share: f64 = text.parse().map_err(|_| BadShare(text.to_owned()))?;
        (share > 0.0 && share <= 1.0)
            .then_some(Self(share))
            .ok_or_else(|| BadShare(text.to_owned()))
    }
}

impl fmt::Display for AddressShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_least_one_and_at_most_the_whole() {
        let half = AddressShare::default();
        assert_eq!([0, 1, 2, 3, 1000].map(|max| half.of(max)), [0, 1, 1, 2, 500]);
        assert_eq!(AddressShare::ALL.of(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_share_that_is_none_is_refused_with_its_text() {
        for bad in ["0", "-1", "1.1", "NaN", "half", ""] {
            assert_eq!(bad.parse::<AddressShare>(), Err(BadShare(bad.to_owned())));
        }
        assert_eq!("0.25".parse(), Ok(AddressShare(0.25)));
    }
}
