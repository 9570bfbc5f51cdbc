//! The kind `kafka`: a topic of Kafka. Each of its partitions has an order of its own, so each is a part.
//!
//! A partition is read from our own place, without a group: nothing is committed in Kafka. Records of transactions are read
//! when they are committed, those of aborted ones never.
//!
//! A record's place is the offset after it. Offsets begin again when a topic is made again, and are given out a second
//! time when its log loses its end: `entry.rs` recognises both at each opening.

mod client;
mod entry;
mod partition;
mod reading;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde::Deserialize;

use self::partition::Partition;
use crate::begin::Begin;
use crate::copying::Copying;
use crate::kind::Kind;
use crate::source::{Failure, Source};
use crate::template::Template;

/// The table `kafka` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KafkaSettings {
    brokers: Vec<String>,
    topic_name: String,
    sasl: Option<Sasl>,
    #[serde(default)]
    tls: bool,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    begin: Begin,
    type_header: Option<String>,
}

/// The login.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sasl {
    user: String,
    password_file: PathBuf,
    #[serde(default)]
    mechanism: Mechanism,
}

/// The way in which the password is proved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    Scram256,
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    Scram512,
}

/// A topic of Kafka, and the way to it.
#[derive(Debug)]
struct Kafka {
    reached: Arc<Reached>,
    begin: Begin,
    /// The number of partitions when it was asked first. Those that came later are read from their start, whatever
    /// the configuration says: what is written before they are seen belongs to the copy.
    known: OnceLock<u32>,
}

/// The way to the topic, which every partition needs.
#[derive(Debug)]
struct Reached {
    /// Addresses with commas between.
    brokers: String,
    name: String,
    sasl: Option<Sasl>,
    tls: bool,
    ca_file: Option<PathBuf>,
    type_header: String,
    topic: Template,
}

/// Most brokers that are named: the client learns the others of their cluster.
const BROKERS_MAX: usize = 16;
/// The longest name of a topic of Kafka, in bytes.
const NAME_MAX: usize = 249;
/// The header of a record that has its event's type, if the configuration names no other.
const TYPE_HEADER: &str = "Tailwater-Type";

impl crate::kind::Settings for KafkaSettings {
    fn fields(&self) -> &'static [&'static str] {
        &["key", "topic", "partition"]
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        if self.brokers.is_empty() || self.brokers.len() > BROKERS_MAX {
            let count = self.brokers.len();
            return Err(format!(
                "kafka.brokers has {count} brokers; it must have 1 to {BROKERS_MAX}"
            ));
        }
        let is_address = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| {
                let is_host = |c: char| c.is_ascii_graphic() && !",/@".contains(c);
                !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok()
            })
        };
        if let Some(bad) = self.brokers.iter().find(|broker| !is_address(broker)) {
            return Err(format!("kafka.brokers has {bad:?}; it must be HOST:PORT"));
        }
        let name = &self.topic_name;
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
            return Err(format!(
                "kafka.topic-name = {name:?}; it must have 1 to {NAME_MAX} letters, digits and any of . _ - (ASCII)"
            ));
        }
        if let Some(sasl) = &self.sasl
            && sasl.user.is_empty()
        {
            return Err("kafka.sasl.user must not be empty".to_owned());
        }
        let type_header = self.type_header.unwrap_or_else(|| TYPE_HEADER.to_owned());
        if type_header.is_empty() {
            return Err("kafka.type-header must not be empty".to_owned());
        }
        let reached = Reached {
            brokers: self.brokers.join(","),
            name: self.topic_name,
            sasl: self.sasl,
            tls: self.tls || self.ca_file.is_some(),
            ca_file: self.ca_file,
            type_header,
            topic: copying.topic.clone(),
        };
        let (reached, known) = (Arc::new(reached), OnceLock::new());
        Ok(Arc::new(Kafka { reached, begin: self.begin, known }))
    }
}

#[async_trait]
impl Kind for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn parts(&self) -> Result<Option<u32>, Failure> {
        let parts = self.reached.partitions().await?;
        self.known.get_or_init(|| parts);
        Ok(Some(parts))
    }

    fn source(&self, part: Option<u32>) -> Box<dyn Source> {
        let part = part.unwrap_or(0);
        let is_later = self.known.get().is_some_and(|known| part >= *known);
        let begin = if is_later { Begin::First } else { self.begin };
        Box::new(Partition::new(Arc::clone(&self.reached), part, begin))
    }
}
