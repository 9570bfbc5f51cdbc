//! The error of a bound that is reached.

use metrics::label;

label! {
    /// The part of a bound that is reached.
    pub enum Part as "part" {
        /// The whole node.
        Node => "node",
        /// The share of one address.
        Address => "address",
        /// The share of one connection.
        Connection => "connection",
        /// The bound of one subject.
        Subject => "subject",
    }
}

/// A bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many {things} {}; the limit is {max} ({flag})", where_of(*part))]
pub struct Full {
    /// The things that are bounded, as `subscriptions`.
    pub things: &'static str,
    /// The flags that set the bound.
    pub flag: &'static str,
    /// The part that is full.
    pub part: Part,
    /// Its bound.
    pub max: u64,
}

const fn where_of(part: Part) -> &'static str {
    match part {
        Part::Node => "on this node",
        Part::Address => "for one address",
        Part::Connection => "on one connection",
        Part::Subject => "for one subject",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_bound_and_its_flag() {
        let full = |part| Full { things: "subscriptions", flag: "--max-connections", part, max: 5 };
        assert_eq!(
            full(Part::Node).to_string(),
            "too many subscriptions on this node; the limit is 5 (--max-connections)"
        );
        assert!(full(Part::Address).to_string().contains("for one address"));
        assert!(full(Part::Subject).to_string().contains("for one subject"));
        assert!(full(Part::Connection).to_string().contains("on one connection"));
    }
}
