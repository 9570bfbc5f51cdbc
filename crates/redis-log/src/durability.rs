//! The levels of durability: where an event is stored before it is acknowledged.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Where an event must be stored before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The primary's memory.
    #[default]
    Memory,
    /// The memory of the primary and of this number of its replicas.
    Replica(NonZeroU32),
    /// The primary's disk: it syncs its append-only file before it answers.
    Disk,
}

/// A text that names no level of durability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no level of durability: give memory, replica:K (with K of 1 or more) or disk")]
pub struct BadDurability(String);

impl FromStr for Durability {
    type Err = BadDurability;

    fn from_str(text: &str) -> Result<Self, BadDurability> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "disk" => Ok(Self::Disk),
            Some(("replica", count)) => {
                count.parse().map(Self::Replica).map_err(|_| BadDurability(text.to_owned()))
            }
            _ => Err(BadDurability(text.to_owned())),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Replica(count) => write!(f, "replica:{count}"),
            Self::Disk => f.write_str("disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_reads_back_as_it_was_written() {
        for text in ["memory", "replica:1", "replica:12", "disk"] {
            assert_eq!(text.parse::<Durability>().unwrap().to_string(), text);
        }
        for text in ["", "replica", "replica:", "replica:0", "replica:-1", "Memory", "disk:1"] {
            assert_eq!(text.parse::<Durability>(), Err(BadDurability(text.to_owned())));
        }
    }
}
