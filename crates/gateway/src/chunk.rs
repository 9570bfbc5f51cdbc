//! Chunks of HTTP/1.1 (RFC 9112, section 7.1).

use std::io::Write as _;
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

/// The last chunk, which ends a body.
pub(crate) const END: &[u8] = b"0\r\n\r\n";
/// Follows the size and the body of each chunk.
const CRLF: &[u8] = b"\r\n";

/// Returns `body` as one chunk. `body` must not be empty, because an empty chunk ends the HTTP body.
pub(crate) fn of(body: &[u8]) -> Bytes {
    debug_assert!(!body.is_empty(), "an empty chunk is the last");
    let mut out = BytesMut::with_capacity(body.len() + 16).writer();
    write!(out, "{:x}\r\n", body.len()).expect("memory takes everything");
    let mut out = out.into_inner();
    out.put_slice(body);
    out.put_slice(CRLF);
    out.freeze()
}

/// Returns the range of the body inside a chunk made by [`of`].
pub(crate) fn body(chunk: &[u8]) -> Range<usize> {
    let size_end = chunk.iter().position(|byte| *byte == b'\n').expect("a chunk has a size");
    size_end + 1..chunk.len() - CRLF.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_its_size_and_its_body() {
        for body in [&b"x"[..], b"\r\n\n", &[b'y'; 70_000]] {
            let chunk = of(body);
            let head = format!("{:x}\r\n", body.len());
            assert!(chunk.starts_with(head.as_bytes()) && chunk.ends_with(b"\r\n"));
            assert_eq!(&chunk[super::body(&chunk)], body);
        }
    }
}
