//! The words of a server, made safe for logs and terminals.

use std::fmt::{Display, Write as _};

/// Longest text of a server that is shown, in bytes. Redis says what is wrong in fewer.
const SHOWN_MAX: usize = 200;

/// Escapes control characters and those that turn the direction of a line, and cuts a long text.
pub(crate) fn plain(text: impl Display) -> String {
    let mut out = Shown(String::new());
    // It only fails when the text is full.
    match write!(out, "{text}") {
        Ok(()) => out.0,
        Err(_) => out.0 + "…",
    }
}

/// A text that takes no more than [`SHOWN_MAX`] bytes.
struct Shown(String);

impl std::fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            let before = self.0.len();
            match is_harmful(c) {
                true => self.0.extend(c.escape_default()),
                false => self.0.push(c),
            }
            if self.0.len() > SHOWN_MAX {
                self.0.truncate(before);
                return Err(std::fmt::Error);
            }
        }
        Ok(())
    }
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_and_control_characters_are_shown() {
        assert_eq!(plain("NOPERM no rights to 'xadd' – é"), "NOPERM no rights to 'xadd' – é");
        assert_eq!(plain("a\x1b]52;c;x\x07\r\nb"), "a\\u{1b}]52;c;x\\u{7}\\r\\nb");
        assert_eq!(plain("a\u{202e}b\u{9b}c"), "a\\u{202e}b\\u{9b}c");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for text in ["x".repeat(10_000), "é".repeat(10_000), "\x1b".repeat(10_000)] {
            let shown = plain(&text);
            assert!(shown.ends_with('…') && shown.len() <= SHOWN_MAX + '…'.len_utf8(), "{shown}");
            assert!(shown.len() > SHOWN_MAX - 8);
        }
        assert_eq!(plain("x".repeat(SHOWN_MAX)), "x".repeat(SHOWN_MAX));
    }
}
