//! HTTP/1.1 chunked transfer coding, decoded piece by piece.

/// The body is not chunked as RFC 9112 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub(super) struct BadChunk;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// Inside the size line; the digits so far.
    Size(u64),
    /// Past the digits, looking for the end of the size line of a chunk of this size.
    Extension(u64),
    Data(u64),
    /// The CRLF behind a chunk's data.
    DataEnd,
    /// Behind the last chunk; how many bytes the current trailer line has.
    Trailer(u64),
    Done,
}

/// Decodes a chunked body.
#[derive(Debug)]
pub(super) struct Decoder {
    state: ChunkState,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Decoder { state: ChunkState::Size(0) }
    }

    /// The body ended as it should: the last chunk and its trailer were read.
    pub(super) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Takes the next bytes and hands on their part of the body.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        body: &mut impl FnMut(&[u8]),
    ) -> Result<(), BadChunk> {
        while let Some(&byte) = bytes.first() {
            if let ChunkState::Data(left) = self.state {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                body(&bytes[..taken]);
                bytes = &bytes[taken..];
                self.state = match left - taken as u64 {
                    0 => ChunkState::DataEnd,
                    left => ChunkState::Data(left),
                };
                continue;
            }
            self.state = self.framing(byte)?;
            bytes = &bytes[1..];
        }
        Ok(())
    }

    /// The state after a byte that is not data.
    fn framing(&self, byte: u8) -> Result<ChunkState, BadChunk> {
        Ok(match (self.state, byte) {
            (ChunkState::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                let size = size.checked_mul(16).ok_or(BadChunk)?;
                ChunkState::Size(size + u64::from(digit))
            }
            (ChunkState::Size(0) | ChunkState::Extension(0), b'\n') => ChunkState::Trailer(0),
            (ChunkState::Size(size) | ChunkState::Extension(size), b'\n') => ChunkState::Data(size),
            (ChunkState::Size(size), b'\r' | b';' | b' ') | (ChunkState::Extension(size), _) => {
                ChunkState::Extension(size)
            }
            (ChunkState::DataEnd, b'\r') => ChunkState::DataEnd,
            (ChunkState::DataEnd, b'\n') => ChunkState::Size(0),
            (ChunkState::Trailer(length), b'\r') => ChunkState::Trailer(length),
            (ChunkState::Trailer(0), b'\n') => ChunkState::Done,
            (ChunkState::Trailer(_), b'\n') => ChunkState::Trailer(0),
            (ChunkState::Trailer(length), _) => ChunkState::Trailer(length + 1),
            (
                ChunkState::Size(_) | ChunkState::DataEnd | ChunkState::Data(_) | ChunkState::Done,
                _,
            ) => {
                return Err(BadChunk);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BadChunk, Decoder};

    fn decode(pieces: &[&[u8]]) -> Result<(String, bool), BadChunk> {
        let mut decoder = Decoder::new();
        let mut body = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut |bytes| body.extend_from_slice(bytes))?;
        }
        let text = String::from_utf8(body).expect("text");
        Ok((text, decoder.is_done()))
    }

    const WIRE: &[u8] = b"4\r\nwiki\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";

    #[test]
    fn chunks_are_joined_whatever_the_cut() {
        let whole = ("wiki0123456789".to_owned(), true);
        for cut in 0..WIRE.len() {
            let pieces = [&WIRE[..cut], &WIRE[cut..]];
            assert_eq!(decode(&pieces), Ok(whole.clone()), "{cut}");
        }
    }

    #[test]
    fn body_that_stops_early_is_not_done() {
        let (text, done) = decode(&[b"8\r\nwiki"]).expect("well formed so far");
        assert_eq!((text.as_str(), done), ("wiki", false));
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(decode(&[b"xyz\r\n"]), Err(BadChunk));
        assert_eq!(decode(&[b"1\r\nab\r\n"]), Err(BadChunk));
        assert_eq!(decode(&[b"fffffffffffffffff\r\n"]), Err(BadChunk));
    }
}
