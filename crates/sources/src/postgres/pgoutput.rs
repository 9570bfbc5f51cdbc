//! The messages of pgoutput, the server's own plugin for logical decoding, in version 1.
//!
//! Numbers are big-endian, texts end with a zero. A row and the content of a logical message are read apart from their
//! message, because of one that is too large only the beginning is kept.

use crate::postgres::lsn::Lsn;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputMessage<'a> {
    /// The beginning of a transaction; the place of its commit.
    Begin { commit: Lsn },
    /// The end of a transaction; the place after its commit.
    Commit { end: Lsn },
    /// A table, which later messages name by its number.
    Relation(Relation),
    /// A new row.
    Insert { relation: u32, row: RowBytes<'a> },
    /// A row that was changed.
    Update { relation: u32 },
    /// A row that was deleted.
    Delete { relation: u32 },
    /// Tables that were emptied.
    Truncate { relations: Vec<u32> },
    /// A message of `pg_logical_emit_message`.
    Logical { is_transactional: bool, lsn: Lsn, prefix: &'a [u8], content: ContentBytes<'a> },
    /// A message that says nothing about events: a data type, or the origin of a transaction.
    Other,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// The number by which other messages name it.
    pub(crate) number: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The names of its columns, in the order of a row's values.
    pub(crate) columns: Vec<String>,
}

/// A row that is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowBytes<'a>(&'a [u8]);

/// The length and the bytes of a logical message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentBytes<'a>(&'a [u8]);

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnValue<'a> {
    Null,
    /// A large value that did not change, and is not sent.
    Unchanged,
    Text(&'a [u8]),
    Binary,
}

/// Bytes that are no message of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("a message of pgoutput is too short")]
    Short,
    #[error("a message of pgoutput has the unknown type {0:?}")]
    Type(char),
    #[error("a row has a part of the unknown type {0:?}")]
    Part(char),
    #[error("a name in a message of pgoutput is not UTF-8")]
    Name,
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadMessage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadMessage::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BadMessage::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, BadMessage> {
        Ok(u8::from_be_bytes(self.number()?))
    }

    fn short(&mut self) -> Result<u16, BadMessage> {
        Ok(u16::from_be_bytes(self.number()?))
    }

    fn long(&mut self) -> Result<u32, BadMessage> {
        Ok(u32::from_be_bytes(self.number()?))
    }

    fn lsn(&mut self) -> Result<Lsn, BadMessage> {
        Ok(Lsn(u64::from_be_bytes(self.number()?)))
    }

    fn text(&mut self) -> Result<&'a [u8], BadMessage> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(BadMessage::Short)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    fn name(&mut self) -> Result<String, BadMessage> {
        String::from_utf8(self.text()?.to_vec()).map_err(|_| BadMessage::Name)
    }
}

impl<'a> OutputMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are no message of version 1.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BadMessage> {
        let mut cursor = Cursor(bytes);
        Ok(match cursor.byte()? {
            b'B' => Self::Begin { commit: cursor.lsn()? },
            b'C' => {
                let (_flags, _commit) = (cursor.byte()?, cursor.lsn()?);
                Self::Commit { end: cursor.lsn()? }
            }
            b'R' => Self::Relation(Relation::parse(&mut cursor)?),
            b'I' => {
                let relation = cursor.long()?;
                let _new = cursor.byte()?;
                Self::Insert { relation, row: RowBytes(cursor.0) }
            }
            b'U' => Self::Update { relation: cursor.long()? },
            b'D' => Self::Delete { relation: cursor.long()? },
            b'T' => {
                let (count, _options) = (cursor.long()?, cursor.byte()?);
                let count = usize::try_from(count).map_err(|_| BadMessage::Short)?;
                let numbers = cursor.take(count.checked_mul(4).ok_or(BadMessage::Short)?)?;
                let (numbers, _rest) = numbers.as_chunks();
                Self::Truncate {
                    relations: numbers.iter().copied().map(u32::from_be_bytes).collect(),
                }
            }
            b'M' => {
                let flags = cursor.byte()?;
                let (lsn, prefix) = (cursor.lsn()?, cursor.text()?);
                let (is_transactional, content) = (flags & 1 == 1, ContentBytes(cursor.0));
                Self::Logical { is_transactional, lsn, prefix, content }
            }
            b'O' | b'Y' => Self::Other,
            other => return Err(BadMessage::Type(other.into())),
        })
    }
}

impl Relation {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, BadMessage> {
        let (number, schema, name) = (cursor.long()?, cursor.name()?, cursor.name()?);
        let (_identity, count) = (cursor.byte()?, cursor.short()?);
        let mut columns = Vec::new();
        for _ in 0..count {
            let _flags = cursor.byte()?;
            columns.push(cursor.name()?);
            let (_type, _modifier) = (cursor.long()?, cursor.long()?);
        }
        Ok(Self { number, schema, name, columns })
    }
}

impl<'a> RowBytes<'a> {
    /// Reads the values.
    ///
    /// # Errors
    /// The bytes are no row.
    pub(crate) fn parse(self) -> Result<Vec<ColumnValue<'a>>, BadMessage> {
        let mut cursor = Cursor(self.0);
        let count = cursor.short()?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(match cursor.byte()? {
                b'n' => ColumnValue::Null,
                b'u' => ColumnValue::Unchanged,
                kind @ (b't' | b'b') => {
                    let length = usize::try_from(cursor.long()?).map_err(|_| BadMessage::Short)?;
                    let bytes = cursor.take(length)?;
                    if kind == b't' { ColumnValue::Text(bytes) } else { ColumnValue::Binary }
                }
                other => return Err(BadMessage::Part(other.into())),
            });
        }
        Ok(values)
    }

    /// The bytes that are there, for people.
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> ContentBytes<'a> {
    /// Reads the content.
    ///
    /// # Errors
    /// There are fewer bytes than were promised.
    pub(crate) fn parse(self) -> Result<&'a [u8], BadMessage> {
        let mut cursor = Cursor(self.0);
        let length = usize::try_from(cursor.long()?).map_err(|_| BadMessage::Short)?;
        cursor.take(length)
    }

    /// The bytes that are there, for people.
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn messages_of_a_server_are_read() {
        let begin = of(&[b"B", &7_u64.to_be_bytes(), &[0; 12]]);
        assert_eq!(OutputMessage::parse(&begin), Ok(OutputMessage::Begin { commit: Lsn(7) }));
        let commit = of(&[b"C", &[0], &7_u64.to_be_bytes(), &9_u64.to_be_bytes(), &[0; 8]]);
        assert_eq!(OutputMessage::parse(&commit), Ok(OutputMessage::Commit { end: Lsn(9) }));
        let column = of(&[&[1], b"id\0", &[0; 8]]);
        let relation = of(&[b"R", &[0, 0, 0, 5], b"public\0outbox\0d", &[0, 1], &column]);
        let expected = Relation {
            number: 5,
            schema: "public".to_owned(),
            name: "outbox".to_owned(),
            columns: vec!["id".to_owned()],
        };
        assert_eq!(OutputMessage::parse(&relation), Ok(OutputMessage::Relation(expected)));
        let row = of(&[&[0, 4], b"nut", &[0, 0, 0, 2], b"hib", &[0, 0, 0, 1], &[9]]);
        let insert = of(&[b"I", &[0, 0, 0, 5], b"N", &row]);
        let Ok(OutputMessage::Insert { relation: 5, row }) = OutputMessage::parse(&insert) else {
            panic!()
        };
        let values = [
            ColumnValue::Null,
            ColumnValue::Unchanged,
            ColumnValue::Text(b"hi"),
            ColumnValue::Binary,
        ];
        assert_eq!(row.parse(), Ok(values.to_vec()));
        let truncate = of(&[b"T", &[0, 0, 0, 2], &[0], &[0, 0, 0, 5], &[0, 0, 0, 6]]);
        assert_eq!(
            OutputMessage::parse(&truncate),
            Ok(OutputMessage::Truncate { relations: vec![5, 6] })
        );
        let logical = of(&[b"M", &[1], &3_u64.to_be_bytes(), b"tailwater\0", &[0, 0, 0, 2], b"{}"]);
        let Ok(OutputMessage::Logical { is_transactional: true, lsn: Lsn(3), prefix, content }) =
            OutputMessage::parse(&logical)
        else {
            panic!()
        };
        assert_eq!((prefix, content.parse()), (&b"tailwater"[..], Ok(&b"{}"[..])));
        assert_eq!(OutputMessage::parse(b"S"), Err(BadMessage::Type('S')));
        assert_eq!(OutputMessage::parse(b""), Err(BadMessage::Short));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in prop::sample::select(b"BCRIUDTMOYx".to_vec()), rest: Vec<u8>) {
            let bytes = of(&[&[kind], &rest]);
            match OutputMessage::parse(&bytes) {
                Ok(OutputMessage::Insert { row, .. }) => drop(row.parse()),
                Ok(OutputMessage::Logical { content, .. }) => drop(content.parse()),
                _ => {}
            }
        }

        #[test]
        fn a_row_comes_back_as_it_was(texts in prop::collection::vec(prop::option::of(".{0,20}"), 0..20)) {
            let mut bytes = of(&[b"I", &[0; 4], b"N", &(texts.len() as u16).to_be_bytes()]);
            for text in &texts {
                match text {
                    None => bytes.push(b'n'),
                    Some(text) => {
                        bytes.push(b't');
                        bytes.extend((text.len() as u32).to_be_bytes());
                        bytes.extend(text.as_bytes());
                    }
                }
            }
            let Ok(OutputMessage::Insert { row, .. }) = OutputMessage::parse(&bytes) else { panic!() };
            let values = texts.iter().map(|text| text.as_ref().map_or(ColumnValue::Null, |text| ColumnValue::Text(text.as_bytes())));
            prop_assert_eq!(row.parse(), Ok(values.collect()));
            for end in 0..bytes.len() {
                let cut = OutputMessage::parse(&bytes[..end]);
                let is_whole = matches!(cut, Ok(OutputMessage::Insert { row, .. }) if row.parse().is_ok());
                prop_assert!(!is_whole);
            }
        }
    }
}
