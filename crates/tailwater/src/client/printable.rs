//! Text of others on a terminal.

use std::borrow::Cow;

/// Returns the text with its control and invisible characters as escapes (`\n`, `\x1b`, `\u{202e}`), so that
/// a publisher or a server can neither command the terminal nor forge a line of output. Other text is
/// unchanged.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if !is_hidden(character) => shown.push(character),
            '\0'..='\u{ff}' => shown.push_str(&format!("\\x{:02x}", u32::from(character))),
            _ => shown.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
        }
    }
    Cow::Owned(shown)
}

/// Returns whether a terminal obeys the character or shows nothing for it. The joiners U+200C and U+200D are
/// not hidden, because scripts and emoji need them.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Separators of lines and paragraphs.
            '\u{2028}' | '\u{2029}'
            // Characters that reorder the text around them.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Characters without width.
            | '\u{200b}' | '\u{2060}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_hidden_character_is_shown_by_its_escape() {
        for (text, shown) in [
            ("two\nlines\r\n\tand a tab", "two\\nlines\\r\\n\\tand a tab"),
            ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
            ("\u{9b}2J\x7f\0", "\\x9b2J\\x7f\\x00"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
            ("pay\u{200b}pal\u{feff}", "pay\\u{200b}pal\\u{feff}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn text_of_any_script_is_unchanged() {
        for text in [
            "",
            "plain \\n text",
            "\u{fc}\u{e9} \u{5e9}\u{5dc}",
            "\u{1f469}\u{200d}\u{1f52c}",
            "\u{a0}\u{ad}",
        ] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_hidden_character_passes_and_no_other_changes(
            parts in proptest::collection::vec(
                prop_oneof![
                    "[ -~]{0,4}",
                    any::<char>().prop_map(String::from),
                    prop_oneof![
                        proptest::char::range('\0', '\u{9f}'),
                        proptest::char::range('\u{2000}', '\u{206f}'),
                    ].prop_map(String::from),
                ],
                0..20,
            ),
        ) {
            let text = parts.concat();
            let shown = printable(&text);
            prop_assert!(!shown.contains(is_hidden), "{shown:?}");
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
            prop_assert_eq!(&printable(&shown), &shown);
            let kept = |text: &str| text.chars().filter(|c| !is_hidden(*c)).collect::<Vec<_>>();
            if !text.contains(is_hidden) {
                prop_assert_eq!(&*shown, &text);
            }
            // All visible characters are still there, in their order.
            let mut rest = shown.chars();
            for character in kept(&text) {
                prop_assert!(rest.any(|shown| shown == character));
            }
        }
    }
}
