//! Cuts a body that arrives in pieces into lines, and drops a byte order mark at its beginning. Bounds the
//! memory of a line.

use bytes::{Buf as _, Bytes};

/// Cuts pieces into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    ends: Ends,
    /// Longest line, in bytes.
    max: usize,
    /// The bytes that were pushed and are not cut yet.
    chunk: Bytes,
    /// The beginning of the line that `chunk` continues, or its first bytes if the line is too long.
    partial: Vec<u8>,
    /// The length of that line so far, including bytes that were not kept.
    length: usize,
    /// True if the last line ended with CR, so that a following LF belongs to its end.
    after_cr: bool,
    number: u64,
}

/// The bytes that end a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// LF.
    Lf,
    /// LF, CR, or CR and LF.
    Any,
}

/// A line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// The whole line.
    Whole(Bytes),
    /// A line over the limit.
    TooLong {
        /// Its first bytes, enough to recognise the field.
        start: Bytes,
        /// Its length.
        bytes: usize,
    },
}

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Bytes that are kept of a line that is too long: a few times the longest name of a field.
const START_BYTES: usize = 32;

impl Lines {
    /// Cuts lines of at most `max` bytes each.
    pub(crate) fn new(ends: Ends, max: usize) -> Self {
        Self {
            ends,
            max,
            chunk: Bytes::new(),
            partial: Vec::new(),
            length: 0,
            after_cr: false,
            number: 0,
        }
    }

    /// Takes the next piece. Call it only after [`Lines::take`] has returned `None`.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        assert!(self.chunk.is_empty(), "a piece is pushed when the one before is used up");
        self.chunk = chunk;
    }

    /// Returns the next complete line.
    pub(crate) fn take(&mut self) -> Option<Line> {
        let first = *self.chunk.first()?;
        if std::mem::take(&mut self.after_cr) && first == b'\n' {
            self.chunk.advance(1);
        }
        let Some(end) = self.chunk.iter().position(|byte| self.ends.contains(*byte)) else {
            let rest = std::mem::take(&mut self.chunk);
            self.keep(&rest);
            return None;
        };
        let piece = self.chunk.split_to(end);
        self.after_cr = self.chunk.get_u8() == b'\r';
        Some(self.complete(piece))
    }

    /// Returns the last line, if the body ended without a line end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        (self.length > 0).then(|| self.complete(Bytes::new()))
    }

    /// Returns true if a line has begun and not ended.
    pub(crate) fn is_within(&self) -> bool {
        self.length > 0 || !self.chunk.is_empty()
    }

    /// Returns the bytes of memory that are held for lines to come.
    pub(crate) fn bytes(&self) -> usize {
        self.partial.capacity() + self.chunk.len()
    }

    /// Returns the number of the line that was taken last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    fn complete(&mut self, piece: Bytes) -> Line {
        self.number += 1;
        let line = self.join(piece);
        if self.number == 1 { line.without_mark() } else { line }
    }

    fn join(&mut self, piece: Bytes) -> Line {
        if self.length == 0 && piece.len() <= self.max {
            return Line::Whole(piece);
        }
        self.keep(&piece);
        let kept = Bytes::from(std::mem::take(&mut self.partial));
        match std::mem::take(&mut self.length) {
            bytes if bytes > self.max => Line::TooLong { start: kept, bytes },
            _ => Line::Whole(kept),
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.length += piece.len();
        if self.length <= self.max {
            self.partial.extend_from_slice(piece);
        } else {
            let room = START_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            self.partial.truncate(START_BYTES);
            self.partial.shrink_to_fit();
        }
    }
}

impl Line {
    /// Drops the byte order mark with which the line begins, if it does.
    fn without_mark(self) -> Self {
        match self {
            Self::Whole(line) if line.starts_with(BOM) => Self::Whole(line.slice(BOM.len()..)),
            Self::TooLong { start, bytes } if start.starts_with(BOM) => {
                Self::TooLong { start: start.slice(BOM.len()..), bytes: bytes - BOM.len() }
            }
            line => line,
        }
    }
}

impl Ends {
    fn contains(self, byte: u8) -> bool {
        match self {
            Self::Lf => byte == b'\n',
            Self::Any => matches!(byte, b'\n' | b'\r'),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 40;

    fn cut<'a>(ends: Ends, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Line> {
        let mut lines = Lines::new(ends, MAX);
        let mut cut = Vec::new();
        for piece in pieces {
            lines.push(Bytes::copy_from_slice(piece));
            cut.extend(std::iter::from_fn(|| lines.take()));
            assert!(lines.partial.capacity() <= 2 * MAX, "memory is bounded");
        }
        cut.extend(lines.finish());
        assert_eq!(lines.number(), cut.len() as u64);
        cut
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn each_kind_of_line_end_ends_one_line() {
        let text = b"a\nb\r\nc\rd\r\r\n\n";
        let lines = ["a", "b", "c", "d", "", ""].map(whole);
        assert_eq!(cut(Ends::Any, [&text[..]]), lines);
        assert_eq!(cut(Ends::Lf, [&b"a\r\n\nb"[..]]), ["a\r", "", "b"].map(whole));
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_to_its_end() {
        let long = [b"data: ".as_slice(), &[b'x'; 95], b"\nnext"].concat();
        let lines = cut(Ends::Any, long.chunks(7));
        let start = Bytes::copy_from_slice(&long[..START_BYTES]);
        assert_eq!(lines, [Line::TooLong { start, bytes: 101 }, whole("next")]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let text = "x".repeat(MAX);
        assert_eq!(cut(Ends::Lf, text.as_bytes().chunks(9)), [Line::Whole(text.into())]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_beginning_only() {
        let text = "\u{feff}a\n\u{feff}b".as_bytes();
        for size in 1..=text.len() {
            assert_eq!(cut(Ends::Lf, text.chunks(size)), ["a", "\u{feff}b"].map(whole), "{size}");
        }
        assert_eq!(cut(Ends::Any, ["\u{feff}\u{feff}".as_bytes()]), [whole("\u{feff}")]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(
            text in "\u{feff}?([a-c]{0,50}(\r|\n|\r\n)){0,6}[a-c]{0,50}",
            sizes in prop::collection::vec(1_usize..20, 1..50),
            any in any::<bool>(),
        ) {
            let ends = if any { Ends::Any } else { Ends::Lf };
            let mut rest = text.as_bytes();
            let pieces = sizes.iter().cycle().map_while(|size| {
                let (piece, after) = rest.split_at(rest.len().min(*size));
                rest = after;
                (!piece.is_empty()).then_some(piece)
            });
            let pieces = cut(ends, pieces);
            for (one, other) in pieces.iter().zip(cut(ends, [text.as_bytes()])) {
                match (one, other) {
                    (Line::TooLong { bytes: one, .. }, Line::TooLong { bytes: other, .. }) => {
                        prop_assert_eq!(*one, other);
                    }
                    (one, other) => prop_assert_eq!(one, &other),
                }
            }
        }
    }
}
