//! Reads the expiry of a certificate, which rustls parses and does not expose.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Tags of DER (X.690, section 8).
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which is absent in certificates of version 1 (RFC 5280, section 4.1).
const VERSION: u8 = 0xa0;

/// Returns the end of a certificate's validity, or `None` if the bytes are not a certificate in DER.
pub(super) fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (body, _signature) = of_tag(SEQUENCE, certificate)?;
    let (mut fields, _signature) = of_tag(SEQUENCE, body)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Skips the serial number, the algorithm and the issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _rest) = of_tag(SEQUENCE, fields)?;
    let (_, _not_before, rest) = element(validity)?;
    let (tag, not_after, _) = element(rest)?;
    let text = str::from_utf8(not_after).ok()?;
    let full = match tag {
        // Two digits of the year: 1950 to 2049 (RFC 5280, section 4.1.2.5.1).
        UTC_TIME if text.get(..2)?.parse::<u8>().ok()? < 50 => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", full).ok()?;
    // A certificate that never expires has the last second of the year 9999, which is more than a timestamp
    // can hold.
    Some(Offset::UTC.to_timestamp(time).unwrap_or(Timestamp::MAX))
}

/// Splits off the first element, which must have the tag. Returns its content and the bytes after it.
fn of_tag(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Splits off the first element. Returns its tag, its content, and the bytes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The length itself takes one to three bytes.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// A certificate with the fields that this module reads.
    fn certificate(version: &[u8], not_after: &[u8]) -> Vec<u8> {
        let before = der(UTC_TIME, b"200101000000Z");
        let validity = der(SEQUENCE, &[&before, not_after].concat());
        let [serial, algorithm, issuer] =
            [der(2, &[1]), der(SEQUENCE, &[]), der(SEQUENCE, &[7; 300])];
        let fields = [version, &serial, &algorithm, &issuer, &validity, b"the rest"].concat();
        der(SEQUENCE, &der(SEQUENCE, &fields))
    }

    fn shown(not_after: &[u8]) -> Option<String> {
        let version = [VERSION, 3, 2, 1, 2];
        let first = super::not_after(&certificate(&version, not_after));
        assert_eq!(first, super::not_after(&certificate(&[], not_after)), "without a version");
        first.map(|time| time.to_string())
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let cases = [
            (der(UTC_TIME, b"491231235959Z"), "2049-12-31T23:59:59Z"),
            (der(UTC_TIME, b"500101000000Z"), "1950-01-01T00:00:00Z"),
            (der(GENERALIZED_TIME, b"20500101000000Z"), "2050-01-01T00:00:00Z"),
        ];
        for (time, expected) in cases {
            assert_eq!(shown(&time).as_deref(), Some(expected));
        }
        let never = shown(&der(GENERALIZED_TIME, b"99991231235959Z"));
        assert_eq!(never, Some(Timestamp::MAX.to_string()));
    }

    #[test]
    fn bytes_that_are_not_a_certificate_are_refused() {
        assert_eq!(shown(&der(UTC_TIME, b"soon")), None);
        assert_eq!(shown(&der(4, b"491231235959Z")), None);
        let whole = certificate(&[], &der(UTC_TIME, b"491231235959Z"));
        for length in 0..whole.len() {
            assert_eq!(super::not_after(&whole[..length]), None, "{length} bytes");
        }
    }
}
