//! The names of a hub's topics in the log.
//!
//! A topic of the log has an alphabet and a limit of its own. A topic of Mercure is written behind the prefix of
//! its space, each other byte as `~` and two digits: `https://example.com/?a` is `mercure/https://example.com/~3Fa`. A name
//! that would be too long ends with `~~` and a hash of the whole topic; it does not read back, and the stored update has
//! the topic itself.

use event_log::{BadTopic, Topic};
use sha1_smol::Sha1;

/// The prefix of a hub's topics in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Space(Box<str>);

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpace {
    /// The log allows no such topic.
    #[error("the prefix of a space: {0}")]
    Topic(#[from] BadTopic),
    /// It is too long, or does not end with a slash.
    #[error("the prefix {0:?} must end with a slash and have at most {max} bytes", max = Space::MAX_BYTES)]
    Form(String),
}

/// The escape of a byte, and the mark between a beginning and a hash, which no escape makes.
const ESCAPE: char = '~';
const CUT: &str = "~~";
/// The length of a hash, in hexadecimal digits: 128 bits.
const HASH_DIGITS: usize = 32;

impl Space {
    /// The longest prefix, in bytes: it leaves room for a topic.
    pub const MAX_BYTES: usize = 64;

    /// Checks and returns a prefix, such as `mercure/`.
    ///
    /// # Errors
    /// The log does not allow it, it is too long, or it does not end with a slash.
    pub fn new(prefix: &str) -> Result<Self, BadSpace> {
        Topic::new(prefix)?;
        match prefix.ends_with('/') && prefix.len() <= Self::MAX_BYTES {
            true => Ok(Self(prefix.into())),
            false => Err(BadSpace::Form(prefix.to_owned())),
        }
    }

    /// The prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a topic of Mercure. Two topics have one name only if their hashes collide.
    ///
    /// # Panics
    /// Never: the name is in the alphabet of the log, and within its limit.
    #[must_use]
    pub fn name(&self, topic: &str) -> Topic {
        let mut name = String::from(&*self.0);
        // The last place at which the name may be cut, no escape in two.
        let room = Topic::MAX_BYTES - CUT.len() - HASH_DIGITS;
        let mut cut = name.len();
        for byte in topic.bytes() {
            if name.len() <= room {
                cut = name.len();
            }
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => name.push(char::from(byte)),
                b'.' | b'_' | b':' | b'/' | b'@' | b'-' => name.push(char::from(byte)),
                other => {
                    name.push(ESCAPE);
                    name.extend([other >> 4, other & 15].map(digit));
                }
            }
        }
        if name.len() > Topic::MAX_BYTES {
            name.truncate(cut);
            name.push_str(CUT);
            name.push_str(&Sha1::from(topic).digest().to_string()[..HASH_DIGITS]);
        }
        Topic::new(&name).expect("the prefix was checked, and what follows is in the alphabet")
    }

    /// The topic of Mercure that has this name; `None` if the name is of another space, was cut, or is no such name.
    #[must_use]
    pub fn topic(&self, name: &Topic) -> Option<String> {
        let mut parts = name.as_str().strip_prefix(&*self.0)?.split(ESCAPE);
        let mut bytes = parts.next()?.as_bytes().to_vec();
        for part in parts {
            let (digits, rest) = part.split_at_checked(2)?;
            // A sign would pass the parser.
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
            bytes.extend(rest.bytes());
        }
        let topic = String::from_utf8(bytes).ok()?;
        (self.name(&topic) == *name).then_some(topic)
    }
}

fn digit(half: u8) -> char {
    char::from_digit(u32::from(half), 16).unwrap_or_default().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn space() -> Space {
        Space::new("mercure/").unwrap()
    }

    #[test]
    fn a_name_is_readable_and_reads_back() {
        for (topic, name) in [
            ("https://example.com/books/1", "mercure/https://example.com/books/1"),
            ("https://example.com/?a=b", "mercure/https://example.com/~3Fa~3Db"),
            ("~a \u{e9}", "mercure/~7Ea~20~C3~A9"),
            ("tailwater.x", "mercure/tailwater.x"),
        ] {
            assert_eq!(space().name(topic).as_str(), name);
            assert_eq!(space().topic(&space().name(topic)).as_deref(), Some(topic));
        }
    }

    #[test]
    fn a_long_topic_is_cut_and_stays_apart_from_others() {
        let long = |last: &str| format!("https://example.com/{}{last}", "\u{e9}".repeat(60));
        let (one, other) = (space().name(&long("1")), space().name(&long("2")));
        assert!(one.as_str().len() <= 200 && one.as_str().starts_with("mercure/https://"), "{one}");
        assert_ne!(one, other);
        assert_eq!(space().topic(&one), None);
        // No escape is cut in two.
        let (kept, _) = one.as_str().split_once("~~").unwrap();
        assert_eq!(kept.matches("~").count() * 3, kept.rsplit('/').next().unwrap().len(), "{kept}");
        // 192 bytes fit behind the prefix.
        assert_eq!(space().topic(&space().name(&"x".repeat(192))), Some("x".repeat(192)));
        assert_eq!(space().topic(&space().name(&"x".repeat(193))), None);
    }

    #[test]
    fn other_names_have_no_topic() {
        for name in [
            "mercury/a",
            "mercure/~",
            "mercure/~3",
            "mercure/~3f",
            "mercure/~41",
            "mercure/~-1",
            "mercure/~FF",
        ] {
            assert_eq!(space().topic(&Topic::new(name).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn a_prefix_ends_with_a_slash() {
        for prefix in ["", "/", "hub"] {
            assert_eq!(Space::new(prefix).is_ok(), prefix == "/", "{prefix}");
        }
        assert!(Space::new("tailwater.x/").is_err());
        assert!(Space::new(&format!("{}/", "x".repeat(64))).is_err());
    }

    proptest! {
        #[test]
        fn every_topic_has_a_name_and_short_ones_read_back(topic in r"[a-z~/?]{1,100}|\PC{1,300}") {
            let name = space().name(&topic);
            let back = space().topic(&name);
            match name.as_str().contains("~~") {
                true => prop_assert_eq!(back, None),
                false => prop_assert_eq!(back, Some(topic)),
            }
        }
    }
}
