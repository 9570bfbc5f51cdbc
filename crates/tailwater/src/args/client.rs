//! The commands of clients.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args as ClapArgs, ValueEnum};
use humantime::parse_duration;

/// The token of a client. TAILWATER_TOKEN holds the token itself, which is no flag, because flags show in the
/// list of processes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ClientToken {
    /// File with the token, which is read for each request; without it, TAILWATER_TOKEN holds the
    /// token itself.
    #[arg(long = "token-file", env = "TAILWATER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct PublishArgs {
    /// URL of an ingest node or a load balancer.
    #[arg(long, env = "TAILWATER_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: ClientToken,
    /// Topic of the events; a line of NDJSON may name its own.
    #[arg(long, short, env = "TAILWATER_TOPIC")]
    pub(crate) topic: Option<String>,
    /// Type of the events.
    #[arg(long = "type", short = 'T', env = "TAILWATER_TYPE", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Format of standard input.
    #[arg(long, short, env = "TAILWATER_INPUT", default_value = "lines")]
    pub(crate) input: Input,
    /// End the topic after the last event, unless the input breaks off or lacks events; an ended topic
    /// accepts no more events.
    #[arg(long, env = "TAILWATER_END")]
    pub(crate) end: bool,
    /// Policy after a gap in an event stream of a gateway; the gap itself is always reported.
    #[arg(long, env = "TAILWATER_ON_GAP", default_value = "fail", value_name = "POLICY")]
    pub(crate) on_gap: OnGap,
    /// Print each receipt as JSON on standard output.
    #[arg(long, short, env = "TAILWATER_RECEIPTS")]
    pub(crate) receipts: bool,
    /// Print no progress on standard error.
    #[arg(long, short, env = "TAILWATER_QUIET", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Time to retry an event that ingest does not accept.
    #[arg(long, env = "TAILWATER_RETRY_FOR", default_value = "1m", value_parser = parse_duration)]
    pub(crate) retry_for: Duration,
    /// Data of the events to publish, one event per argument; without any, standard input is read.
    #[arg(value_name = "DATA")]
    pub(crate) data: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// Each line is the data of an event
    Lines,
    /// Each line is {"topic","type","data","key"}; only data is required
    Ndjson,
    /// An event stream, as another SSE server or a gateway sends it; a gateway's control events are not
    /// published
    Sse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnGap {
    /// Publish the events after the gap, do not end the topic, and exit with status 1
    Fail,
    /// Publish no event after the gap, do not end the topic, and exit with status 1
    Stop,
    /// Go on as if there were no gap
    Accept,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct TailArgs {
    /// URL of a gateway or a load balancer.
    #[arg(long, env = "TAILWATER_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: ClientToken,
    /// Topics to follow, and patterns of topics of a space: in 'orders/*' the wildcard is one segment, in 'orders/**'
    /// it is the rest.
    #[arg(required = true, value_name = "TOPIC|PATTERN")]
    pub(crate) topics: Vec<String>,
    /// Where to start: latest, earliest, -N (the last N events), or a time such as
    /// 2026-01-31T12:00:00Z.
    #[arg(long, env = "TAILWATER_FROM", default_value = "latest", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// Start after the event with this id.
    #[arg(long, env = "TAILWATER_AFTER", conflicts_with = "from", value_name = "ID")]
    pub(crate) after: Option<String>,
    /// Print only events of these types.
    #[arg(long, env = "TAILWATER_TYPES", value_name = "TYPE,…")]
    pub(crate) types: Option<String>,
    /// Exit after N events.
    #[arg(long, short, env = "TAILWATER_COUNT", value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Output format.
    #[arg(long, short, env = "TAILWATER_FORMAT", default_value = "text")]
    pub(crate) format: TailFormat,
    /// Save the position in this file after each event, and resume from it at the next start.
    #[arg(long, env = "TAILWATER_STATE", value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Print nothing about connections on standard error; gaps are always reported.
    #[arg(long, short, env = "TAILWATER_QUIET", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFormat {
    /// Time, topic, type and data on one line; control and invisible characters are escaped
    Text,
    /// One JSON object per line: {"id","topic","type","data","time"}; JSON escapes only the control
    /// characters below U+0020
    Json,
    /// The data alone, byte for byte: do not print that of others on a terminal
    Data,
}
