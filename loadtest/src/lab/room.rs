//! The space of the lab: topics that share a log, and the selections of its subscribers.

/// The value of `--space`.
pub(super) const PREFIX: &str = "room/";

/// The topics, each with its load.
pub(super) const TOPICS: [&str; 6] =
    ["room/1", "room/2", "room/3", "room/3/a", "room/3/b", "room/4"];

/// Events a second, over all topics.
pub(super) const RATE: u32 = 120;

/// The part of the space that a subscriber wants.
#[derive(Debug)]
pub struct RoomPart {
    /// As a query.
    pub(super) query: &'static str,
    /// Indexes of the topics that it selects.
    pub(super) topics: &'static [usize],
}

/// Every kind of subscription: to an exact topic, to several, to patterns, and to the whole space.
pub(super) const PARTS: [RoomPart; 5] = [
    RoomPart { query: "topic=room/1", topics: &[0] },
    RoomPart { query: "topic=room/2&topic=room/3/a", topics: &[1, 3] },
    RoomPart { query: "topic=room/*", topics: &[0, 1, 2, 5] },
    RoomPart { query: "topic=room/3/**&topic=room/4", topics: &[3, 4, 5] },
    RoomPart { query: "topic=room/**", topics: &[0, 1, 2, 3, 4, 5] },
];

impl RoomPart {
    /// Returns true if it is the whole space.
    pub(super) const fn is_whole(&self) -> bool {
        self.topics.len() == TOPICS.len()
    }
}

/// The index of a topic.
pub(super) fn index(topic: &str) -> Option<usize> {
    TOPICS.iter().position(|name| *name == topic)
}
