//! The configuration of sources: a table for each in `relay.toml`.

use std::collections::BTreeMap;
use std::sync::Arc;

use event_log::Topic;
use serde::Deserialize;

use crate::copying::{Copying, OnError, OnGap};
use crate::kind::{Kind, Settings};
use crate::template::Template;

/// The sources of a relay, by name.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub(crate) sources: BTreeMap<String, Options>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The text is no TOML, or has another form than is documented.
    #[error(transparent)]
    Form(#[from] Box<toml::de::Error>),
    /// A source's table has a mistake.
    #[error("source {name}: {reason}")]
    Source {
        /// The source.
        name: String,
        /// The mistake, with the value and the limit.
        reason: String,
    },
    /// There are more sources than a relay runs.
    #[error("there are {0} sources; the limit is {SOURCES_MAX}")]
    TooMany(usize),
}

/// Most sources of a relay: each has a connection, and metrics of its own.
const SOURCES_MAX: usize = 100;
/// The longest name of a source, in bytes.
const NAME_MAX: usize = 64;
/// The largest event if the configuration does not say, in bytes.
const EVENT_BYTES_MAX: usize = 256 * 1024;
/// The largest `event-bytes-max`, in bytes.
const EVENT_BYTES_LIMIT: usize = 64 << 20;
/// The kinds of sources in this build.
const KINDS: &str = "sse, json-lines, poll, postgres, nats, kafka, mqtt";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    source: BTreeMap<String, Table>,
}

/// The settings that all kinds of sources have, and the table of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    topic: String,
    #[serde(default = "stop")]
    on_error: String,
    dead_letter: Option<String>,
    on_gap: Option<String>,
    gap_topic: Option<String>,
    event_bytes_max: Option<usize>,
    #[cfg(feature = "postgres")]
    postgres: Option<crate::postgres::PostgresSettings>,
    #[cfg(not(feature = "postgres"))]
    postgres: Option<toml::Table>,
    sse: Option<crate::sse::SseSettings>,
    json_lines: Option<crate::json_lines::JsonLinesSettings>,
    poll: Option<crate::poll::PollSettings>,
    #[cfg(feature = "kafka")]
    kafka: Option<crate::kafka::KafkaSettings>,
    #[cfg(not(feature = "kafka"))]
    kafka: Option<toml::Table>,
    #[cfg(feature = "nats")]
    nats: Option<crate::nats::NatsSettings>,
    #[cfg(not(feature = "nats"))]
    nats: Option<toml::Table>,
    #[cfg(feature = "mqtt")]
    mqtt: Option<crate::mqtt::MqttSettings>,
    #[cfg(not(feature = "mqtt"))]
    mqtt: Option<toml::Table>,
    #[cfg(test)]
    script: Option<crate::script::Settings>,
}

fn stop() -> String {
    "stop".to_owned()
}

/// The options of a source.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) copying: Copying,
}

impl Config {
    /// Reads `relay.toml`.
    ///
    /// # Errors
    /// The text is no TOML or has another form, or a source has a mistake.
    pub fn parse(text: &str) -> Result<Self, BadConfig> {
        Self::of(toml::from_str(text).map_err(Box::new)?)
    }

    fn of(file: File) -> Result<Self, BadConfig> {
        if file.source.len() > SOURCES_MAX {
            return Err(BadConfig::TooMany(file.source.len()));
        }
        let sources = file.source.into_iter().map(|(name, table)| {
            let read = check_name(&name).and_then(|()| table.options(&name));
            match read {
                Ok(options) => Ok((name, options)),
                Err(reason) => Err(BadConfig::Source { name, reason }),
            }
        });
        Ok(Self { sources: sources.collect::<Result<_, _>>()? })
    }

    /// One source by the name of `stream`: an event stream at a URL, copied into a topic.
    ///
    /// # Errors
    /// The URL or the topic has a mistake.
    pub fn event_stream(url: &str, topic: &str) -> Result<Self, BadConfig> {
        let text = |text: &str| toml::Value::String(text.to_owned());
        let table = |entries: [(&str, toml::Value); 1]| {
            toml::Value::Table(
                entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
            )
        };
        let mut source = toml::Table::new();
        source.insert("topic".to_owned(), text(topic));
        source.insert("sse".to_owned(), table([("url", text(url))]));
        let file = table([("source", table([("stream", toml::Value::Table(source))]))]);
        Self::of(file.try_into().map_err(Box::new)?)
    }

    /// Returns true if there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

/// The name is a label of metrics and the key of bookmarks.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        return Err(format!("a name has 1 to {NAME_MAX} letters, digits and any of . _ - (ASCII)"));
    }
    Ok(())
}

impl Table {
    fn options(self, name: &str) -> Result<Options, String> {
        let absent: &[(&str, bool)] = &[
            #[cfg(not(feature = "postgres"))]
            ("postgres", self.postgres.is_some()),
            #[cfg(not(feature = "kafka"))]
            ("kafka", self.kafka.is_some()),
            #[cfg(not(feature = "nats"))]
            ("nats", self.nats.is_some()),
            #[cfg(not(feature = "mqtt"))]
            ("mqtt", self.mqtt.is_some()),
        ];
        if let Some((kind, _)) = absent.iter().find(|(_, is_asked_for)| *is_asked_for) {
            return Err(format!("this build has no {kind}; build it with --features {kind}"));
        }
        let mut kinds: Vec<Box<dyn Settings>> = Vec::new();
        #[cfg(feature = "postgres")]
        kinds.extend(self.postgres.clone().map(|settings| Box::new(settings) as _));
        kinds.extend(self.sse.clone().map(|settings| Box::new(settings) as _));
        kinds.extend(self.json_lines.clone().map(|settings| Box::new(settings) as _));
        kinds.extend(self.poll.clone().map(|settings| Box::new(settings) as _));
        #[cfg(feature = "kafka")]
        kinds.extend(self.kafka.clone().map(|settings| Box::new(settings) as _));
        #[cfg(feature = "nats")]
        kinds.extend(self.nats.clone().map(|settings| Box::new(settings) as _));
        #[cfg(feature = "mqtt")]
        kinds.extend(self.mqtt.clone().map(|settings| Box::new(settings) as _));
        #[cfg(test)]
        kinds.extend(self.script.clone().map(|settings| Box::new(settings) as _));
        let count = kinds.len();
        let Some(settings) = kinds.pop().filter(|_| count == 1) else {
            return Err(format!("it has {count} kinds; it must have one of {KINDS}"));
        };
        let copying = self.copying(name, settings.fields())?;
        Ok(Options { kind: settings.kind(&copying)?, copying })
    }

    fn copying(&self, name: &str, fields: &'static [&'static str]) -> Result<Copying, String> {
        let topic = Template::parse(&self.topic, fields)
            .map_err(|error| format!("topic = {:?}: {error}", self.topic))?;
        let on_error = match (&*self.on_error, &self.dead_letter) {
            ("stop", None) => OnError::Stop,
            ("skip", None) => OnError::Skip,
            ("dead-letter", Some(topic)) => OnError::DeadLetter(named("dead-letter", topic)?),
            ("dead-letter", None) => {
                return Err("on-error = \"dead-letter\" needs dead-letter, a topic".to_owned());
            }
            ("stop" | "skip", Some(_)) => {
                return Err("dead-letter needs on-error = \"dead-letter\"".to_owned());
            }
            (other, _) => {
                return Err(format!("on-error = {other:?}; it must be stop, skip or dead-letter"));
            }
        };
        let told = match &self.gap_topic {
            Some(topic) => Some(named("gap-topic", topic)?),
            None => topic.fixed(),
        };
        let on_gap = match (self.on_gap.as_deref(), told) {
            (Some("stop"), _) | (None, None) => OnGap::Stop,
            (Some("tell") | None, Some(topic)) => OnGap::Tell(topic),
            (Some("tell"), None) => {
                return Err("on-gap = \"tell\" needs gap-topic, where topic has fields".to_owned());
            }
            (Some(other), _) => return Err(format!("on-gap = {other:?}; it must be tell or stop")),
        };
        let event_bytes_max = self.event_bytes_max.unwrap_or(EVENT_BYTES_MAX);
        if !(1..=EVENT_BYTES_LIMIT).contains(&event_bytes_max) {
            return Err(format!(
                "event-bytes-max = {event_bytes_max}; it must be 1 to {EVENT_BYTES_LIMIT}"
            ));
        }
        Ok(Copying { source: name.to_owned(), topic, on_error, on_gap, event_bytes_max })
    }
}

fn named(field: &str, topic: &str) -> Result<Topic, String> {
    Topic::new(topic).map_err(|error| format!("{field} = {topic:?}: {error}"))
}
