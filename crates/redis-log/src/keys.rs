//! The names of a topic's keys and channels.
//!
//! All keys of a topic carry the tag of its partition, so that in a cluster they live in one slot,
//! and so that commands on many topics can be grouped by slot without knowing the cluster.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use event_log::{Key, LogName, Spaces, Topic};

/// The number of partitions. It can never change: it decides the names of a topic's keys.
pub(crate) const PARTITIONS: u32 = 256;

/// Longest name of a prefix, in bytes: every key of the log carries it.
const PREFIX_MAX: usize = 64;

/// The partition of a topic: FNV-1a, folded. It can never change either.
pub(crate) fn partition(topic: &LogName) -> u32 {
    let hash = topic
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16) ^ (hash >> 8)) % PARTITIONS
}

/// The beginning of every key and channel of a log: nothing, or a name and a colon. Logs of other prefixes
/// in the same Redis know nothing of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPrefix(Option<Arc<str>>);

/// The reason why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prefix of keys has 1 to {PREFIX_MAX} letters, digits and any of . _ - (ASCII), not {0:?}"
)]
pub struct BadKeyPrefix(String);

impl KeyPrefix {
    /// The prefix as keys begin with it.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FromStr for KeyPrefix {
    type Err = BadKeyPrefix;

    fn from_str(name: &str) -> Result<Self, BadKeyPrefix> {
        // No brace, which would make another slot, no colon, and nothing that a pattern of rights reads otherwise.
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > PREFIX_MAX || !name.chars().all(fits) {
            return Err(BadKeyPrefix(name.chars().take(PREFIX_MAX + 1).collect()));
        }
        Ok(Self(Some(format!("{name}:").into())))
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str().trim_end_matches(':'))
    }
}

/// The names of a log's keys. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    prefix: KeyPrefix,
    spaces: Spaces,
}

impl Keys {
    pub(crate) fn new(prefix: &KeyPrefix, spaces: &Spaces) -> Self {
        Self { prefix: prefix.clone(), spaces: spaces.clone() }
    }

    /// The spaces, which decide the log of a topic.
    pub(crate) fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    /// The name of the stream, and of the channel that announces its events.
    pub(crate) fn stream(&self, topic: &LogName) -> String {
        self.parts("e", &partition(topic).to_string(), topic).concat()
    }

    /// A pattern of the names of all streams.
    pub(crate) fn every_stream(&self) -> String {
        format!("{}e:{{*", self.prefix.as_str())
    }

    /// The name of the head.
    pub(crate) fn head(&self, topic: &LogName) -> String {
        self.parts("h", &partition(topic).to_string(), topic).concat()
    }

    /// The name of a topic's stream (`e`) or head (`h`), in parts; the tag is its partition's number.
    pub(crate) fn parts<'a>(
        &'a self,
        kind: &'a str,
        tag: &'a str,
        topic: &'a LogName,
    ) -> [&'a str; 6] {
        [self.prefix.as_str(), kind, ":{", tag, "}:", topic.as_str()]
    }

    /// The name of an idempotency key. No topic holds a `|`, so no two pairs of topic and key share one.
    pub(crate) fn key_parts<'a>(
        &'a self,
        tag: &'a str,
        topic: &'a Topic,
        key: &'a Key,
    ) -> [&'a str; 7] {
        self.named_parts(tag, "}:", topic, key)
    }

    /// The name of the fingerprint that belongs to an idempotency key. It is no part of the key's own value,
    /// because 0.2.0 takes that value for a position. No topic begins with a `|`.
    pub(crate) fn fingerprint_parts<'a>(
        &'a self,
        tag: &'a str,
        topic: &'a Topic,
        key: &'a Key,
    ) -> [&'a str; 7] {
        self.named_parts(tag, "}:|", topic, key)
    }

    /// The name of the bookmark that a source has in a topic. It begins as idempotency keys do, so it needs no
    /// further right.
    pub(crate) fn bookmark_parts<'a>(
        &'a self,
        tag: &'a str,
        topic: &'a Topic,
        source: &'a Key,
    ) -> [&'a str; 7] {
        self.named_parts(tag, "}:||", topic, source)
    }

    /// The name of the position of an event with a label.
    pub(crate) fn label_parts<'a>(
        &'a self,
        tag: &'a str,
        log: &'a LogName,
        label: &'a Key,
    ) -> [&'a str; 7] {
        [self.prefix.as_str(), "i:{", tag, "}:|||", log.as_str(), "|", label.as_str()]
    }

    /// The name of something that a topic has under another name. `mark` tells the kinds apart.
    fn named_parts<'a>(
        &'a self,
        tag: &'a str,
        mark: &'a str,
        topic: &'a Topic,
        name: &'a Key,
    ) -> [&'a str; 7] {
        [self.prefix.as_str(), "i:{", tag, mark, topic.as_str(), "|", name.as_str()]
    }

    /// The name of the leases of all nodes in a partition.
    pub(crate) fn leases(&self, partition: u32) -> String {
        format!("{}n:{{{partition}}}", self.prefix.as_str())
    }

    /// The beginning of the names of nodes' counts in a partition; the node's name follows.
    pub(crate) fn counts(&self, partition: u32) -> String {
        format!("{}q:{{{partition}}}:", self.prefix.as_str())
    }

    /// The name of the leases by which all nodes hold members in a partition.
    pub(crate) fn members_leases(&self, partition: u32) -> String {
        format!("{}n:{{{partition}}}|", self.prefix.as_str())
    }

    /// The name of something that a partition keeps of its members, by the letter of `presence.lua`. No node's
    /// counts have such a name.
    pub(crate) fn members(&self, partition: u32, letter: &str) -> String {
        format!("{}|{letter}", self.counts(partition))
    }

    /// The name of the members of a topic.
    pub(crate) fn members_of(&self, partition: u32, topic: &Topic) -> String {
        format!("{}{topic}", self.members(partition, "m"))
    }

    /// The name of the topic that a channel belongs to.
    pub(crate) fn topic_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let own = channel.strip_prefix(self.prefix.as_str())?;
        Some(own.strip_prefix("e:{")?.split_once("}:")?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    #[test]
    fn names_never_change() {
        // Another name or another partition would lose what is stored.
        let (keys, key) = (Keys::default(), Key::new("k:1").unwrap());
        assert_eq!(keys.stream(&topic("orders/42")), "e:{145}:orders/42");
        assert_eq!(keys.head(&topic("a")), "h:{9}:a");
        let space = LogName::parse("orders/**").unwrap();
        assert_eq!(keys.stream(&space), "e:{81}:orders/**");
        assert_eq!(keys.key_parts("9", &topic("a"), &key).concat(), "i:{9}:a|k:1");
        assert_eq!(keys.fingerprint_parts("9", &topic("a"), &key).concat(), "i:{9}:|a|k:1");
        assert_eq!(keys.bookmark_parts("9", &topic("a"), &key).concat(), "i:{9}:||a|k:1");
        assert_eq!(keys.label_parts("81", &space, &key).concat(), "i:{81}:|||orders/**|k:1");
        assert_eq!((keys.leases(16), keys.counts(16)), ("n:{16}".into(), "q:{16}:".into()));
        assert_eq!(keys.members_leases(16), "n:{16}|");
        assert_eq!(keys.members(16, "v"), "q:{16}:|v");
        assert_eq!(keys.members_of(16, &topic("a/b")), "q:{16}:|ma/b");
        let keys = Keys::new(&"shop.eu".parse().unwrap(), &Spaces::NONE);
        assert_eq!(keys.stream(&topic("orders/42")), "shop.eu:e:{145}:orders/42");
        assert_eq!(keys.head(&topic("a")), "shop.eu:h:{9}:a");
        assert_eq!(keys.key_parts("9", &topic("a"), &key).concat(), "shop.eu:i:{9}:a|k:1");
        assert_eq!(keys.leases(16), "shop.eu:n:{16}");
        assert_eq!(keys.counts(16), "shop.eu:q:{16}:");
    }

    #[test]
    fn a_prefix_cannot_change_slots_or_patterns() {
        let long = "x".repeat(PREFIX_MAX + 1);
        for bad in ["", "a:b", "a{b}", "a*", "a?", "[a]", "a b", "é", &long] {
            let error = bad.parse::<KeyPrefix>().unwrap_err().to_string();
            assert!(error.contains("64") && error.contains(bad), "{error}");
        }
        assert_eq!("A-b_c.9".parse::<KeyPrefix>().unwrap().to_string(), "A-b_c.9");
    }

    #[test]
    fn a_channel_leads_back_to_its_topic() {
        let topic = topic("user:7/}:x".replace('}', "-").as_str());
        let (plain, own) = (Keys::default(), Keys::new(&"e".parse().unwrap(), &Spaces::NONE));
        for keys in [&plain, &own] {
            assert_eq!(keys.topic_of(&keys.stream(&topic)), Some(topic.as_str()));
        }
        assert_eq!(plain.topic_of("h:{1}:a"), None);
        assert_eq!(plain.topic_of("e:{1"), None);
        assert_eq!(plain.topic_of(&own.stream(&topic)), None);
        assert_eq!(own.topic_of(&plain.stream(&topic)), None);
    }

    #[test]
    fn topics_spread_over_all_partitions() {
        let mut counts = vec![0; PARTITIONS as usize];
        for i in 0..25_600 {
            counts[partition(&topic(&format!("device/{i}"))) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
