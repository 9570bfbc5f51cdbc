//! The driver's payload: a number and a time, filled up to the size that was asked for.

use anyhow::{Context, Result};

/// The prefix of a payload, as it stands in an event stream.
pub(super) const MARK: &[u8] = b"data: #";
/// The same where the payload is a text in JSON.
pub(super) const JSON_MARK: &[u8] = b"\"data\":\"#";
/// `NNNNNNNNNN TTTTTTTTTTTTTTTT `: the number, and microseconds since 1970.
const STAMP_LEN: usize = 28;

/// The contents of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) number: u64,
    pub(super) micros: u64,
}

/// A payload of `size` bytes, or more if the stamp needs more.
pub(super) fn encode(stamp: Stamp, size: usize) -> String {
    let mut text = format!("#{:010} {:016} ", stamp.number, stamp.micros);
    while text.len() < size {
        text.push(char::from(b'a' + (text.len() % 26) as u8));
    }
    text
}

/// The stamp that `bytes` begin with, behind the mark, and its length; `None` if it is not
/// complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Stamp, usize)>> {
    let Some(stamp) = bytes.get(..STAMP_LEN) else {
        return Ok(None);
    };
    let number = |range: std::ops::Range<usize>| {
        let text = stamp.get(range).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = text.and_then(|text| text.parse::<u64>().ok());
        number.with_context(|| format!("a broken payload: {:?}", String::from_utf8_lossy(stamp)))
    };
    let stamp = Stamp { number: number(0..10)?, micros: number(11..27)? };
    Ok(Some((stamp, STAMP_LEN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_found_in_a_stream() {
        let stamp = Stamp { number: 42, micros: 1_234_567 };
        let text = encode(stamp, 200);
        assert_eq!(text.len(), 200);
        let stream = format!("2f\r\nid: 7\ndata: {text}\n\n");
        let at = stream.find("data: #").unwrap() + MARK.len();
        assert_eq!(parse(&stream.as_bytes()[at..]).unwrap().unwrap().0, stamp);
        assert_eq!(parse(&stream.as_bytes()[at..at + 20]).unwrap(), None);
    }
}
