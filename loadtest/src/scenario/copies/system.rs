//! The systems whose events are copied.

use std::path::Path;

use anyhow::Result;
use async_trait::async_trait;

use super::gateway::Upstream;
use super::kafka::Kafka;
use super::mosquitto::Mosquitto;
#[cfg(feature = "nats")]
use super::nats::Nats;
use super::postgres::Postgres;

/// A system that a relay copies, as a real process.
#[async_trait(?Send)]
pub(super) trait System {
    /// The lines of its table in `relay.toml`, with the topic.
    fn table(&self) -> String;

    /// The number of topics that its records go to.
    fn topics(&self) -> usize {
        20
    }

    /// The name of a topic, from 1.
    fn topic(&self, number: usize) -> String {
        format!("t-{number:04}")
    }

    /// A way to write records, beside the process.
    ///
    /// # Errors
    /// When it cannot be started.
    fn writer(&self) -> Result<Box<dyn Writer>>;

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// When it cannot be sent.
    async fn kill_nine(&mut self) -> Result<()>;

    /// Starts the process again, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    async fn restart(&mut self) -> Result<()>;
}

/// Writes records into a system.
#[async_trait(?Send)]
pub(super) trait Writer {
    /// Writes all records until the system has acknowledged them. A repetition must not write a record twice.
    ///
    /// # Errors
    /// When the system refuses them, or is away for too long.
    async fn write(&mut self, records: &[SourceRecord]) -> Result<()>;
}

/// A record to be copied.
#[derive(Debug, Clone)]
pub(super) struct SourceRecord {
    /// The number among all records, from 0.
    pub(super) id: u64,
    /// The topic that it is to reach.
    pub(super) topic: String,
    /// The data that the event is to have.
    pub(super) data: String,
}

/// The kinds of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SystemKind {
    /// Another Tailwater, by its event stream.
    Gateway,
    /// An outbox table.
    Postgres,
    /// A topic of Kafka, which scripts/setup-kafka installs.
    Kafka,
    /// Topics of an MQTT broker, which is stopped and not killed.
    Mosquitto,
    /// A stream of JetStream.
    #[cfg(feature = "nats")]
    Nats,
}

impl SystemKind {
    /// Starts a system in a directory of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(self, tailwater: &Path, directory: &Path) -> Result<Box<dyn System>> {
        Ok(match self {
            Self::Gateway => Box::new(Upstream::start(tailwater, directory).await?),
            Self::Postgres => Box::new(Postgres::start(directory).await?),
            Self::Kafka => Box::new(Kafka::start(directory).await?),
            Self::Mosquitto => Box::new(Mosquitto::start(directory).await?),
            #[cfg(feature = "nats")]
            Self::Nats => Box::new(Nats::start(directory).await?),
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "sse",
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Mosquitto => "mqtt",
            #[cfg(feature = "nats")]
            Self::Nats => "nats",
        }
    }
}
