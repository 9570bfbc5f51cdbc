//! The names of numbered topics, for the driver and for the tokens of their readers.

/// The prefix of most of them.
pub const TOPICS: &str = "bench-";
/// The space of those that readers select from.
pub const SPACE: &str = "bench/";

/// The name of a topic.
pub fn numbered(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:05}")
}
