//! The texts of the protocol: topics, selectors, ids and types have the same alphabet.

use std::sync::LazyLock;

use regex::Regex;

/// A text that the protocol does not allow. The sentence begins with the name of the thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It is longer than its limit.
    #[error("has {bytes} bytes; the limit is {max}")]
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// It has a control character, which could end a line of an event, or a format character, which nobody sees.
    #[error("has U+{:04X}, a control or format character", u32::from(*.0))]
    Invisible(char),
}

/// The characters that the standard calls format characters, such as marks of direction.
static FORMAT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{Cf}").expect("a class of characters that the library knows"));

/// Checks the length of a text and its characters.
///
/// # Errors
/// It is empty, too long, or has a character that cannot be seen.
pub(crate) fn check(text: &str, max: usize) -> Result<(), BadText> {
    if text.is_empty() {
        return Err(BadText::Empty);
    }
    if text.len() > max {
        return Err(BadText::TooLong { bytes: text.len(), max });
    }
    let control = || text.chars().find(|c| c.is_control());
    let format = || FORMAT.find(text).and_then(|found| found.as_str().chars().next());
    let invisible = control().or_else(|| if text.is_ascii() { None } else { format() });
    invisible.map_or(Ok(()), |char| Err(BadText::Invisible(char)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_visible_characters_is_allowed() {
        for text in ["a", "https://example.com/books/{id}", "livres/\u{e9}t\u{e9} 1", "\u{1f980}"] {
            assert_eq!(check(text, 100), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn invisible_characters_and_other_lengths_are_refused() {
        assert_eq!(check("", 9), Err(BadText::Empty));
        assert_eq!(check("0123456789", 9), Err(BadText::TooLong { bytes: 10, max: 9 }));
        // The ends of lines, DEL, a C1 control, a soft hyphen, a zero-width joiner, a mark of direction, a tag.
        for char in "\0\n\r\u{7f}\u{85}\u{ad}\u{200d}\u{202e}\u{e0041}".chars() {
            assert_eq!(check(&format!("a{char}b"), 100), Err(BadText::Invisible(char)));
        }
        let message = BadText::Invisible('\n').to_string();
        assert_eq!(message, "has U+000A, a control or format character");
    }
}
