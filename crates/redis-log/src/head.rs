//! What a topic's head key says.

use event_log::{Event, Generation, Mark, Position};

/// The last position of a topic and what came with it. Written by `publish.lua` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) generation: Generation,
    pub(crate) ended: bool,
}

impl Head {
    /// Reads the key's value. What the script would not understand is as good as no head.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let head = words.next()?.parse().ok()?;
        let _expired = words.next()?;
        let first = words.next()?.parse().ok()?;
        let _generation = words.next()?;
        let ended = words.next()? == "e";
        Some(Self { generation: Generation { head, first }, ended })
    }

    /// The head of a topic whose key is gone, by its newest event, as the script has it.
    pub(crate) fn of(newest: Option<&Event>) -> Option<Self> {
        newest.map(|event| Self {
            // Where the generation began is not known; what is lost shows in the numbers alone.
            generation: Generation { head: event.position(), first: Position::START },
            ended: event.mark() != Mark::Open,
        })
    }

    pub(crate) fn position(&self) -> Position {
        self.generation.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_writes_is_understood() {
        let head = Head::parse("20-7 5 12-4 0123abcd e").unwrap();
        assert_eq!(head.position(), Position::new(20, 7));
        assert_eq!(head.generation.first, Position::new(12, 4));
        assert!(head.ended);
        assert!(!Head::parse("20-7 5 12-4 0123abcd o").unwrap().ended);
    }

    #[test]
    fn anything_else_is_no_head() {
        for text in ["", "20-7", "20-7 5 x 0123abcd o", "x 5 12-4 0123abcd o"] {
            assert_eq!(Head::parse(text), None, "{text:?}");
        }
    }
}
