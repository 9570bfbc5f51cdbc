//! A cursor as text: the id of an SSE event, which comes back as `Last-Event-ID`.
//!
//! | topics | text |
//! |---|---|
//! | one | the position, `<ms>-<n>` |
//! | several | `v1.` and base64url of: FNV-1a-32 of the sorted topics (4 bytes, big endian), varint of the greatest ms, then for each topic in sorted order varint(greatest ms - ms), varint(n) |
//!
//! Because of the hash, a cursor of other topics is an error instead of a wrong position. Text from a client
//! is untrusted: any text decodes to positions or is an [`InvalidCursor`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::{Position, Topic};

const VERSION: &str = "v1.";

/// A text that is not a cursor of this subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not valid for these topics")]
pub struct InvalidCursor;

/// Writes the positions, given in the order of the sorted topics.
pub(crate) fn encode(
    topics_hash: u32,
    positions: impl ExactSizeIterator<Item = Position> + Clone,
) -> String {
    if positions.len() == 1 {
        return positions.map(|p| p.to_string()).collect();
    }
    let newest = positions.clone().map(|p| p.ms).max().unwrap_or_default();
    let mut bytes = Vec::with_capacity(12 + 8 * positions.len());
    bytes.extend(topics_hash.to_be_bytes());
    put_varint(&mut bytes, newest);
    for position in positions {
        put_varint(&mut bytes, newest - position.ms);
        put_varint(&mut bytes, position.n);
    }
    let mut text = String::with_capacity(VERSION.len() + bytes.len() * 4 / 3 + 3);
    text.push_str(VERSION);
    BASE64.encode_string(bytes, &mut text);
    text
}

/// Reads the text that [`encode`] wrote for `count` topics with this hash.
pub(crate) fn decode(
    text: &str,
    topics_hash: u32,
    count: usize,
) -> Result<Vec<Position>, InvalidCursor> {
    if count == 1 {
        return text.parse().map(|position| vec![position]).map_err(|_| InvalidCursor);
    }
    let encoded = text.strip_prefix(VERSION).ok_or(InvalidCursor)?;
    let bytes = BASE64.decode(encoded).map_err(|_| InvalidCursor)?;
    let (hash, mut rest) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
    if u32::from_be_bytes(*hash) != topics_hash {
        return Err(InvalidCursor);
    }
    let newest = take_varint(&mut rest)?;
    let positions = (0..count)
        .map(|_| {
            let ms = newest.checked_sub(take_varint(&mut rest)?).ok_or(InvalidCursor)?;
            Ok(Position::new(ms, take_varint(&mut rest)?))
        })
        .collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(positions) } else { Err(InvalidCursor) }
}

/// FNV-1a over the sorted names, each followed by a zero byte, which no name contains.
pub(crate) fn hash<'a>(sorted: impl Iterator<Item = &'a Topic>) -> u32 {
    let names = sorted.flat_map(|topic| topic.as_str().bytes().chain([0]));
    names.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, InvalidCursor> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(InvalidCursor)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(InvalidCursor);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(InvalidCursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u64>()).prop_map(|(ms, n)| Position::new(ms, n))
    }

    proptest! {
        #[test]
        fn encoded_positions_decode_to_themselves(positions in prop::collection::vec(position(), 1..9), hash: u32) {
            let text = encode(hash, positions.iter().copied());
            prop_assert_eq!(decode(&text, hash, positions.len()), Ok(positions));
        }

        #[test]
        fn eight_topics_of_this_decade_fit_a_header_that_needs_no_preflight(
            positions in prop::collection::vec((0u64..1 << 35, 0u64..1 << 35), 8),
        ) {
            let newest = 1_900_000_000_000;
            let positions = positions.into_iter().map(|(age, n)| Position::new(newest - age, n));
            let text = encode(u32::MAX, positions.collect::<Vec<_>>().into_iter());
            prop_assert!(text.len() <= 128, "{} bytes", text.len());
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~=,;+-".contains(&b)));
        }

        #[test]
        fn no_text_from_a_client_panics(text in ".*", hash: u32, count in 1usize..70) {
            let _either = decode(&text, hash, count);
        }

        #[test]
        fn no_bytes_from_a_client_panic(bytes: Vec<u8>, count in 2usize..70) {
            let mut all = 7u32.to_be_bytes().to_vec();
            all.extend(bytes);
            let _either = decode(&format!("v1.{}", BASE64.encode(all)), 7, count);
        }
    }

    #[test]
    fn a_cursor_of_other_topics_is_invalid() {
        let two = [Position::new(5, 1), Position::new(9, 2)];
        let text = encode(1, two.into_iter());
        assert_eq!(decode(&text, 2, 2), Err(InvalidCursor));
        assert_eq!(decode(&text, 1, 3), Err(InvalidCursor));
        assert_eq!(decode(&text, 1, 1), Err(InvalidCursor));
        assert_eq!(decode("5-1", 1, 2), Err(InvalidCursor));
    }
}
