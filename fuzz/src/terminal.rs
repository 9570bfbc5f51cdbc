//! Text of publishers and servers on the terminal of `tailwater tail`.

#[path = "../../crates/tailwater/src/client/printable.rs"]
mod printable;

use printable::printable;

/// Prints a text. No control character passes, and the shown text is printed unchanged.
pub(crate) fn terminal(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let shown = printable(&text);
    assert!(!shown.contains(char::is_control), "{shown:?}");
    assert_eq!(printable(&shown), shown);
}
