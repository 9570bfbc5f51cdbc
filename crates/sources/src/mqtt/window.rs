//! The keys of the last messages, in the text of a place: "OPENING OWN KEYS".
//!
//! The place of a message is its ordinal in one opening of the source. The same message has another place when it comes again in
//! the next opening, so across openings messages are compared by their keys. A bookmark has the keys of the last [`KEYS_MAX`]
//! messages of QoS 1 up to its own, and no more than that are unacknowledged: a message that the broker sends again is in the
//! bookmark of its topic if it was stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::place::Place;

/// Most keys of a place.
pub(super) const KEYS_MAX: usize = 256;
/// The bytes of a key's hash.
const HASH_BYTES: usize = 8;
/// The characters of a key.
const KEY_CHARS: usize = 11;
/// The characters of the name of an opening.
const OPENING_CHARS: usize = 16;
/// Written where a message has no key.
const NONE: &str = "-";

const _: () = assert!(
    OPENING_CHARS + 1 + KEY_CHARS + 1 + KEYS_MAX * KEY_CHARS <= Place::TEXT_MAX,
    "a window fits into a place"
);

/// A key of a message, as it stands in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageKey(String);

impl MessageKey {
    /// The key of a message on a topic of MQTT. The same key on another topic is another one.
    pub(super) fn new(topic: &str, key: &str) -> Self {
        // No topic of MQTT has a zero byte.
        let hash = digest(&SHA256, format!("{topic}\0{key}").as_bytes());
        Self(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..HASH_BYTES]))
    }
}

/// The keys of the last messages.
#[derive(Debug)]
pub(super) struct Window {
    era: u64,
    /// The name of this opening, unlike that of any other.
    opening: String,
    /// The keys, one after the other, the oldest first.
    keys: String,
}

impl Window {
    /// A new opening, which knows the keys that a place has.
    pub(super) fn after(place: Option<&Place>) -> Self {
        let parts = place.and_then(Parts::of);
        let keys = parts.map_or("", |parts| parts.keys).to_owned();
        let era = place.map_or(0, |place| place.era + 1);
        Self { era, opening: format!("{:016x}", fastrand::u64(..)), keys }
    }

    /// Returns true if a message had this key.
    pub(super) fn has(&self, key: &MessageKey) -> bool {
        holds(&self.keys, &key.0)
    }

    /// Remembers a key, and forgets the oldest one if there are too many.
    pub(super) fn add(&mut self, key: &MessageKey) {
        self.keys.push_str(&key.0);
        if self.keys.len() > KEYS_MAX * KEY_CHARS {
            self.keys.drain(..KEY_CHARS);
        }
    }

    /// The place of the message with this ordinal.
    pub(super) fn place(&self, ordinal: u64, key: Option<&MessageKey>) -> Place {
        let own = key.map_or(NONE, |key| &key.0);
        let text = format!("{} {own} {}", self.opening, self.keys);
        Place { era: self.era, major: ordinal, minor: 0, text }
    }

    /// Returns true if a place is of this opening.
    pub(super) fn is_of(&self, place: &Place) -> bool {
        Parts::of(place).is_some_and(|parts| parts.opening == self.opening)
    }
}

/// Returns true if a topic with the bookmark `known` has the message of `place` already.
pub(super) fn has(known: &Place, place: &Place) -> bool {
    let (Some(stored), Some(new)) = (Parts::of(known), Parts::of(place)) else { return false };
    if stored.opening == new.opening {
        known.order() >= place.order()
    } else {
        new.own != NONE && holds(stored.keys, new.own)
    }
}

fn holds(keys: &str, key: &str) -> bool {
    keys.as_bytes().chunks(KEY_CHARS).any(|known| known == key.as_bytes())
}

/// The text of a place.
struct Parts<'a> {
    opening: &'a str,
    own: &'a str,
    keys: &'a str,
}

impl<'a> Parts<'a> {
    fn of(place: &'a Place) -> Option<Self> {
        let mut parts = place.text.splitn(3, ' ');
        let (opening, own, keys) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = opening.len() == OPENING_CHARS && keys.len() % KEY_CHARS == 0 && keys.is_ascii();
        fits.then_some(Self { opening, own, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> MessageKey {
        MessageKey::new("t", &n.to_string())
    }

    fn add(window: &mut Window, n: usize) -> Place {
        window.add(&key(n));
        window.place(n as u64, Some(&key(n)))
    }

    #[test]
    fn a_message_that_comes_again_is_known_as_long_as_it_may_be_unacknowledged() {
        let mut first = Window::after(None);
        let places: Vec<_> = (1..=KEYS_MAX + 1).map(|n| add(&mut first, n)).collect();
        let bookmark = places.last().unwrap();
        assert!(Place::allows(&bookmark.text), "{}", bookmark.text.len());
        let mut second = Window::after(Some(bookmark));
        assert!(!second.has(&key(1)) && (2..=KEYS_MAX + 1).all(|n| second.has(&key(n))));
        // A relay whose checkpoint is older asks the bookmark of the topic.
        let mut stale = Window::after(Some(&places[0]));
        let again = add(&mut stale, 2);
        assert!(!again.text.is_empty() && has(bookmark, &again));
        let new = add(&mut second, KEYS_MAX + 2);
        assert!(!has(bookmark, &new));
        assert!(new.order() > bookmark.order());
    }

    #[test]
    fn within_an_opening_the_ordinal_tells_and_across_openings_only_the_key() {
        let (mut one, mut other) = (Window::after(None), Window::after(None));
        let (first, second) = (add(&mut one, 1), add(&mut one, 2));
        assert!(has(&second, &first) && has(&first, &first) && !has(&first, &second));
        // The second opening began at the same place as the first one, so its numbers are the same.
        let new = add(&mut other, 3);
        let keyless = other.place(1, None);
        assert!(!has(&second, &new) && !has(&second, &keyless));
        assert_eq!(MessageKey::new("t", "1"), key(1));
        assert_ne!(MessageKey::new("u", "1"), key(1));
        let foreign = Place { era: 9, major: 9, minor: 9, text: "cursor".to_owned() };
        assert!(!has(&foreign, &first) && !has(&first, &foreign));
    }
}
