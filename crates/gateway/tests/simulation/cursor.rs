//! A decoder of cursors, written after `docs/protocol.md`. The simulation tests the gateway's own
//! decoder, so it cannot use it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use event_log::Position;

/// Decodes a cursor of `count` topics into its positions.
pub(crate) fn decode(text: &str, count: usize) -> Result<Vec<Position>, String> {
    let bad = || format!("{text:?} is not a cursor");
    if count == 1 {
        return text.parse().map(|position| vec![position]).map_err(|_| bad());
    }
    let bytes = text.strip_prefix("2.").and_then(|rest| BASE64.decode(rest).ok());
    let bytes = bytes.ok_or_else(bad)?;
    let mut rest = bytes.as_slice();
    let newest = varint(&mut rest).ok_or_else(bad)?;
    let mut position = || {
        // The hash of the topic. The topics are in order.
        rest = rest.get(4..)?;
        Some(Position::new(newest - varint(&mut rest)?, varint(&mut rest)?))
    };
    (0..count).map(|_| position().ok_or_else(bad)).collect()
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
}
