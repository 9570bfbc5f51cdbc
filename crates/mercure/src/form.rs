//! Fields in the encoding `application/x-www-form-urlencoded`: of a query or a body.
//!
//! The library decodes the escapes. A common parser of whole forms replaces bytes that are no UTF-8; the protocol wants
//! them refused.

use percent_encoding::percent_decode;

/// A field that is no UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {0:?} is not UTF-8")]
pub struct BadField(String);

/// The names and the values of a form, in their order. A name without a value has an empty one.
pub(crate) fn fields(encoded: &[u8]) -> impl Iterator<Item = Result<(String, String), BadField>> {
    let pieces = encoded.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    pieces.map(|piece| {
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let bad = || BadField(String::from_utf8_lossy(name).chars().take(64).collect());
        decode(name).zip(decode(value)).ok_or_else(bad)
    })
}

fn decode(encoded: &[u8]) -> Option<String> {
    let spaced: Vec<_> = encoded.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    String::from_utf8(percent_decode(&spaced).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_as_browsers_encode_them() {
        let read: Vec<_> = fields(b"a=b+c&&d&=e&%C3%A9=%2B%&f=g=h&").map(Result::unwrap).collect();
        let pairs: Vec<_> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("a", "b c"), ("d", ""), ("", "e"), ("\u{e9}", "+%"), ("f", "g=h")]);
    }

    #[test]
    fn other_bytes_than_utf_8_are_refused() {
        for form in [&b"a=%ff"[..], b"\xff=a", b"a=\xc3"] {
            assert!(fields(form).any(|field| field.is_err()), "{form:?}");
        }
    }
}
