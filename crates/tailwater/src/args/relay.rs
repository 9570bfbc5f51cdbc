//! The flags of a relay.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args as ClapArgs;
use humantime::parse_duration;
use redis_log::Durability;
use relay::{Adapter, Detached};

use super::roles::REDIS;
use super::{
    AccessArgs, AddressArgs, LimitArgs, LogArgs, NodeArgs, ReadArgs, Size, SubscriberArgs,
};

#[derive(Debug, Clone, ClapArgs)]
// The answer of a language model has more events than a feed of news.
#[command(mut_arg("history_events", |arg| arg.default_value("100000")))]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    #[command(flatten)]
    pub(crate) answers: AnswerArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) subscribers: SubscriberArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// The flags of the sources.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Sources")]
pub(crate) struct SourceArgs {
    /// File with sources (relay.toml), which are copied into topics: event streams, JSON, Postgres, NATS, Kafka, MQTT.
    #[arg(long, env = "TAILWATER_CONFIG", value_name = "FILE", conflicts_with = "source")]
    pub(crate) config: Option<PathBuf>,
    /// Event stream that is copied into a topic. Other sources are for --config.
    #[arg(long, env = "TAILWATER_SOURCE", value_name = "URL", requires = "source_topic")]
    pub(crate) source: Option<String>,
    /// Topic of --source.
    #[arg(long, env = "TAILWATER_SOURCE_TOPIC", value_name = "TOPIC", requires = "source")]
    pub(crate) source_topic: Option<String>,
}

/// The flags of the upstream and its answers.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct AnswerArgs {
    /// Server that requests are passed on to: http or https, with a path that is put before the path of each request.
    /// Without it the relay only copies sources.
    #[arg(
        long,
        env = "TAILWATER_UPSTREAM",
        value_name = "URL",
        required_unless_present_any = ["config", "source"]
    )]
    pub(crate) upstream: Option<String>,
    /// Clients that resume in a way of their own: openai (responses.retrieve with starting_after), ai-sdk (useChat with
    /// resume), langgraph (runs), each with another path than the usual one if that is given, as in ai-sdk=/chat; may be
    /// repeated.
    #[arg(long, env = "TAILWATER_ADAPTER", value_name = "NAME[=PATH],…", value_delimiter = ',')]
    pub(crate) adapter: Vec<Adapter>,
    /// Time for which an answer is read on after its caller has left, or cancel, which ends the request to the
    /// upstream at once.
    #[arg(long, env = "TAILWATER_DETACHED", default_value = "10m", value_name = "TIME|cancel")]
    pub(crate) detached: DetachedArg,
    /// Longest silence of the upstream: before the head of its answer, and between two pieces of its body.
    #[arg(long, env = "TAILWATER_UPSTREAM_TIMEOUT", default_value = "10m", value_parser = parse_duration)]
    pub(crate) upstream_timeout: Duration,
    /// Answers that are stored at a time; one address gets its share. Any more are passed on without being stored.
    #[arg(long, env = "TAILWATER_MAX_ANSWERS", default_value_t = 1024, value_name = "N")]
    pub(crate) max_answers: usize,
    /// Largest event of an answer, in bytes. An answer with a larger one is passed on, and stored up to there.
    #[arg(long, env = "TAILWATER_EVENT_BYTES_MAX", default_value = "256KiB", value_name = "SIZE")]
    pub(crate) event_bytes_max: Size,
    /// Largest body of a request that has an Idempotency-Key or begins a chat of ai-sdk, in bytes.
    #[arg(long, env = "TAILWATER_REQUEST_BYTES_MAX", default_value = "4MiB", value_name = "SIZE")]
    pub(crate) request_bytes_max: Size,
    /// Where an event must be stored before the caller gets it: memory (of the primary), replica:K (also in memory
    /// of K replicas), disk (of the primary, which needs appendfsync always).
    #[arg(long, env = "TAILWATER_DURABILITY", default_value = "memory", value_name = "LEVEL")]
    pub(crate) durability: Durability,
}

/// The value of `--detached`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DetachedArg(pub(crate) Detached);

impl FromStr for DetachedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "cancel" {
            return Ok(Self(Detached::Cancel));
        }
        let time =
            parse_duration(text).map_err(|error| format!("{error}, and it is not cancel"))?;
        Ok(Self(Detached::For(time)))
    }
}
