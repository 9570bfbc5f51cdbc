//! The fingerprint of an event, by which a log tells a retry from another event with the same key.

use std::fmt;

use sha1_smol::Sha1;

use crate::{BreakReason, EventType, Extra, Mark, NewEvent};

/// The first 64 bits of the SHA-1 of everything that a publisher sends of an event: its type, its data and its
/// mark. The trace is not part of it, because each try has a trace of its own.
///
/// Logs store fingerprints, so the function can never change. Of two different events with one key, one pair in
/// 2^64 has the same fingerprint; the second event then counts as a retry of the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of an event.
    #[must_use]
    pub fn of(event: &NewEvent) -> Self {
        let NewEvent { kind, data, mark, trace: _, extra } = event;
        let mark: u8 = match mark {
            Mark::Open => 0,
            Mark::Last => 1,
            Mark::End => 2,
            Mark::Broken(BreakReason::Disconnected) => 3,
            Mark::Broken(BreakReason::Timeout) => 4,
            Mark::Deleted => 5,
            Mark::Reopened => 6,
            Mark::Broken(BreakReason::Missing) => 7,
        };
        let mut hash = Sha1::new();
        // No type holds a line break, so no two events are written alike.
        hash.update(kind.as_ref().map_or("", EventType::as_str).as_bytes());
        hash.update(&[b'\n', mark]);
        hash.update(data.as_bytes());
        if let Some(Extra { also, attributes }) = extra.as_deref() {
            // No topic holds a NUL, so events without these parts are written otherwise.
            let also = also.iter().map(|topic| topic.as_str());
            for part in also.chain(attributes.as_deref()) {
                hash.update(&[0]);
                hash.update(part.as_bytes());
            }
        }
        let bytes = hash.digest().bytes();
        let (first, _) = bytes.split_first_chunk().expect("a digest of SHA-1 has 20 bytes");
        Self(u64::from_be_bytes(*first))
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceParent;

    fn print(kind: Option<&str>, data: &str, mark: Mark) -> Fingerprint {
        let kind = kind.map(|kind| EventType::new(kind).unwrap());
        Fingerprint::of(&NewEvent { kind, data: data.into(), mark, ..NewEvent::default() })
    }

    #[test]
    fn everything_that_a_publisher_sends_counts_and_the_trace_does_not() {
        let one = print(None, "a", Mark::Open);
        for (kind, data, mark) in [
            (Some("a"), "", Mark::Open),
            (Some("a"), "a", Mark::Open),
            (None, "b", Mark::Open),
            (None, "a", Mark::Last),
            (None, "", Mark::End),
        ] {
            assert_ne!(print(kind, data, mark), one, "{kind:?} {data:?} {mark:?}");
        }
        let trace = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let traced = NewEvent { data: "a".into(), trace, ..NewEvent::default() };
        assert_eq!(Fingerprint::of(&traced), one);
    }

    #[test]
    fn a_fingerprint_never_changes() {
        // Nodes of other versions compare with what this version has stored.
        assert_eq!(
            print(Some("shipped"), "{\"order\":42}", Mark::Last).to_string(),
            "6e55b54243ed88c4"
        );
    }
}
