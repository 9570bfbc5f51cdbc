//! The place in the history where a subscription without a cursor begins: the parameter `from`.

use std::time::Duration;

use event_log::{Origin, Seek};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::error::BadRequest;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Begin {
    /// With the next event.
    #[default]
    Latest,
    /// Somewhere in the history.
    Seek(Seek),
    /// So long before the time of the request.
    Ago(Duration),
}

/// Digits of a time in seconds since 1970, from 1973 on. Fewer are more likely a count without its minus sign.
const SECONDS_DIGITS: std::ops::RangeInclusive<usize> = 9..=11;
/// Digits of such a time in milliseconds.
const MILLIS_DIGITS: std::ops::RangeInclusive<usize> = 12..=14;

impl Begin {
    pub(super) fn parse(value: &str) -> Result<Self, BadRequest> {
        let parsed = match value {
            // Empty is absent, as with a cursor.
            "" | "latest" => Some(Self::Latest),
            "earliest" => Some(Self::Seek(Seek::Earliest)),
            _ => count(value).or_else(|| ago(value)).or_else(|| since(value)),
        };
        parsed.ok_or_else(|| {
            let allowed = "latest, earliest, -N, 10m (ago; s, m, h or d), a time as 2026-01-31T12:00:00Z, a date, \
                           or seconds or milliseconds since 1970";
            BadRequest::value("from", value, allowed)
        })
    }

    /// The place as a place in a log, for a request of this time, in milliseconds since 1970.
    pub(crate) fn seek(self, now: u64) -> Option<Seek> {
        match self {
            Self::Latest => None,
            Self::Seek(seek) => Some(seek),
            Self::Ago(time) => {
                let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Some(Seek::Since(now.saturating_sub(time)))
            }
        }
    }

    /// The same as an origin.
    pub(crate) fn origin(self, now: u64) -> Origin {
        self.seek(now).map_or(Origin::Latest, Origin::Seek)
    }
}

/// `-N`: the last N events.
fn count(value: &str) -> Option<Begin> {
    let count = value.strip_prefix('-')?.parse().ok()?;
    Some(Begin::Seek(Seek::Last(count)))
}

/// `10m`: a time before the request.
fn ago(value: &str) -> Option<Begin> {
    let (number, unit) =
        value.split_at(value.len().checked_sub(1).filter(|at| value.is_char_boundary(*at))?);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u64 = all_digits(number)?.parse().ok()?;
    Some(Begin::Ago(Duration::from_secs(number.checked_mul(unit)?)))
}

/// A time: RFC 3339, a date in UTC, or a number of seconds or milliseconds.
fn since(value: &str) -> Option<Begin> {
    let millis = match all_digits(value) {
        Some(digits) => {
            let number: u64 = digits.parse().ok()?;
            match digits.len() {
                length if SECONDS_DIGITS.contains(&length) => number * 1000,
                length if MILLIS_DIGITS.contains(&length) => number,
                _ => return None,
            }
        }
        None => millis(time(value)?),
    };
    Some(Begin::Seek(Seek::Since(millis)))
}

fn time(value: &str) -> Option<Timestamp> {
    if let Ok(time) = value.parse() {
        return Some(time);
    }
    // A `+` that was not escaped arrives as a space.
    if let Some((time, zone)) = value.rsplit_once(' ')
        && let Ok(time) = format!("{time}+{zone}").parse()
    {
        return Some(time);
    }
    let date: Date = value.parse().ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

fn all_digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_begin_is_a_word_a_count_a_time_or_a_span() {
        let since = |ms| Begin::Seek(Seek::Since(ms));
        let cases = [
            ("", Begin::Latest),
            ("latest", Begin::Latest),
            ("earliest", Begin::Seek(Seek::Earliest)),
            ("-20", Begin::Seek(Seek::Last(20))),
            ("10m", Begin::Ago(Duration::from_secs(600))),
            ("90s", Begin::Ago(Duration::from_secs(90))),
            ("2h", Begin::Ago(Duration::from_secs(7200))),
            ("1d", Begin::Ago(Duration::from_secs(86_400))),
            ("1970-01-01T00:00:01.5Z", since(1500)),
            ("1970-01-01T01:00:01+01:00", since(1000)),
            ("1970-01-01T01:00:01 01:00", since(1000)),
            ("1970-01-01 00:00:01Z", since(1000)),
            ("1970-01-02", since(86_400_000)),
            ("1960-01-02", since(0)),
            ("1795160198", since(1_795_160_198_000)),
            ("1795160198020", since(1_795_160_198_020)),
        ];
        for (value, expected) in cases {
            assert_eq!(Begin::parse(value).unwrap(), expected, "{value:?}");
        }
        let far = u64::MAX.to_string() + "d";
        for bad in [
            "20",
            "--1",
            "-",
            "-x",
            "yesterday",
            "m",
            "-5m",
            "1.5h",
            "\u{e9}",
            "10\u{e9}",
            &far,
            "2026-02-30",
        ] {
            assert!(Begin::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_span_ends_at_the_request() {
        let now = 1_000_000;
        let ago = |seconds| Begin::Ago(Duration::from_secs(seconds)).seek(now);
        assert_eq!(ago(600), Some(Seek::Since(400_000)));
        assert_eq!(ago(2000), Some(Seek::Since(0)));
        assert_eq!(Begin::Latest.origin(now), Origin::Latest);
    }
}
