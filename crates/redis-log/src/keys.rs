//! The names of a topic's keys.
//!
//! All keys of a topic carry the tag of its partition, so that in a cluster they live in one slot,
//! and so that commands on many topics can be grouped by slot without knowing the cluster.

use event_log::{Key, Topic};

/// The number of partitions. It can never change: it decides the names of a topic's keys.
pub(crate) const PARTITIONS: u32 = 256;

/// The partition of a topic: FNV-1a, folded. It can never change either.
pub(crate) fn partition(topic: &Topic) -> u32 {
    let hash = topic
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16) ^ (hash >> 8)) % PARTITIONS
}

/// The name of the stream, and of the channel that announces its events.
pub(crate) fn stream(topic: &Topic) -> String {
    parts("e", &partition(topic).to_string(), topic).concat()
}

/// The name of the head.
pub(crate) fn head(topic: &Topic) -> String {
    parts("h", &partition(topic).to_string(), topic).concat()
}

/// The name of a topic's stream (`e`) or head (`h`), in parts; the tag is its partition's number.
pub(crate) fn parts<'a>(kind: &'a str, tag: &'a str, topic: &'a Topic) -> [&'a str; 5] {
    [kind, ":{", tag, "}:", topic.as_str()]
}

/// The name of an idempotency key. No topic holds a `|`, so no two pairs of topic and key share one.
pub(crate) fn key_parts<'a>(tag: &'a str, topic: &'a Topic, key: &'a Key) -> [&'a str; 6] {
    ["i:{", tag, "}:", topic.as_str(), "|", key.as_str()]
}

/// The name of the leases of all nodes in a partition.
pub(crate) fn leases(partition: u32) -> String {
    format!("n:{{{partition}}}")
}

/// The beginning of the names of nodes' counts in a partition; the node's name follows.
pub(crate) fn counts(partition: u32) -> String {
    format!("q:{{{partition}}}:")
}

/// The name of the topic that a channel belongs to.
pub(crate) fn topic_of(channel: &str) -> Option<&str> {
    Some(channel.strip_prefix("e:{")?.split_once("}:")?.1)
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
        assert_eq!(stream(&topic("orders/42")), "e:{145}:orders/42");
        assert_eq!(head(&topic("a")), "h:{9}:a");
        let key = Key::new("k:1").unwrap();
        assert_eq!(key_parts("9", &topic("a"), &key).concat(), "i:{9}:a|k:1");
    }

    #[test]
    fn a_channel_leads_back_to_its_topic() {
        let topic = topic("user:7/}:x".replace('}', "-").as_str());
        assert_eq!(topic_of(&stream(&topic)), Some(topic.as_str()));
        assert_eq!(topic_of("h:{1}:a"), None);
        assert_eq!(topic_of("e:{1"), None);
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
