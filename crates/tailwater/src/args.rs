//! The command line, which is also its documentation. Every flag is an environment variable too.

mod size;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use redis_log::Durability;
pub(crate) use size::Size;

use crate::telemetry::LogFormat;

/// Resumable Server-Sent Events from any node.
///
/// Publishers POST events to topics, subscribers GET them as an event stream. A subscriber whose
/// node dies reconnects to any other and goes on where it was, by the Last-Event-ID that browsers
/// send by themselves.
///
/// Every flag can be given as an environment variable: --drain-window as TAILWATER_DRAIN_WINDOW.
/// Durations have a unit (500ms, 30s, 24h), and so have sizes (256KiB).
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve subscribers and publishers on one port; without --redis, from memory
    Serve(ServeArgs),
    /// Serve subscribers, from Redis
    Gateway(GatewayArgs),
    /// Serve publishers, into Redis
    Ingest(IngestArgs),
    /// Publish events, from arguments or standard input
    Publish(PublishArgs),
    /// Follow topics: reconnect, resume, report gaps
    Tail(TailArgs),
    /// Look over a configuration and what it would find, and say so
    Check(CheckArgs),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ServeArgs {
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "0.0.0.0:8080",
        help = "Address for subscribers and publishers"
    )]
    pub(crate) listen: SocketAddr,
    #[arg(
        long,
        env = "TAILWATER_REDIS",
        hide_env_values = true,
        value_name = "URL",
        help = "Keep events in this Redis: redis://[user:password@]host[:port], redis+sentinel://host[:port],host/master, redis+cluster://host[:port],host; with rediss instead of redis by TLS"
    )]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) subscribers: SubscriberArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct GatewayArgs {
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "0.0.0.0:8080",
        help = "Address for subscribers"
    )]
    pub(crate) listen: SocketAddr,
    #[arg(
        long,
        env = "TAILWATER_REDIS",
        hide_env_values = true,
        value_name = "URL",
        help = "Where the events are: redis://[user:password@]host[:port], redis+sentinel://host[:port],host/master, redis+cluster://host[:port],host; with rediss instead of redis by TLS"
    )]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) subscribers: SubscriberArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct IngestArgs {
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "0.0.0.0:8081",
        help = "Address for publishers"
    )]
    pub(crate) listen: SocketAddr,
    #[arg(
        long,
        env = "TAILWATER_REDIS",
        hide_env_values = true,
        value_name = "URL",
        help = "Where the events go: redis://[user:password@]host[:port], redis+sentinel://host[:port],host/master, redis+cluster://host[:port],host; with rediss instead of redis by TLS"
    )]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
}

/// What every node has.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
    #[arg(
        long,
        env = "TAILWATER_ADMIN_LISTEN",
        default_value = "0.0.0.0:9090",
        help = "Address for /metrics, /livez, /readyz, /debug/connections and /debug/log"
    )]
    pub(crate) admin_listen: SocketAddr,
    #[arg(
        long,
        env = "TAILWATER_TLS_CERT",
        value_name = "FILE",
        help = "Serve --listen by TLS with this certificate and its chain, as PEM. Taken up within 10s when it changes"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    #[arg(
        long,
        env = "TAILWATER_TLS_KEY",
        value_name = "FILE",
        help = "The private key of --tls-cert, as PEM"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    #[arg(
        long,
        env = "TAILWATER_NODE",
        value_name = "NAME",
        help = "This node's name, which clients see [default: the host name]"
    )]
    pub(crate) node: Option<String>,
    #[arg(
        long,
        env = "TAILWATER_LOG_FORMAT",
        default_value = "text",
        help = "Form of the logs on standard error"
    )]
    pub(crate) log_format: LogFormat,
    #[arg(
        long,
        env = "TAILWATER_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVELS",
        help = "Levels of the logs: debug, or gateway=debug,info. tailwater::connection=off,info leaves out the line of each connection"
    )]
    pub(crate) log_level: String,
    #[arg(
        long,
        env = "TAILWATER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        help = "Send traces to this OTLP/HTTP receiver, as http://collector:4318"
    )]
    pub(crate) otlp_endpoint: Option<String>,
    #[arg(
        long,
        env = "TAILWATER_OTLP_RATIO",
        default_value_t = 1.0,
        value_name = "RATIO",
        help = "Share of the traces that begin here to send, 0 to 1; who comes with a traceparent has decided"
    )]
    pub(crate) otlp_ratio: f64,
    #[arg(
        long,
        env = "TAILWATER_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        help = "Web origins, besides its own, whose pages may use this node; * is any. May be repeated"
    )]
    pub(crate) cors_origin: Vec<String>,
    #[arg(long, env = "TAILWATER_DRAIN_DELAY", default_value = "5s", value_parser = humantime::parse_duration, help = "Time after SIGTERM in which load balancers learn of it: not ready, but serving")]
    pub(crate) drain_delay: Duration,
    #[arg(long, env = "TAILWATER_SHUTDOWN_GRACE", default_value = "5s", value_parser = humantime::parse_duration, help = "Time for what is left to finish, before the process ends")]
    pub(crate) shutdown_grace: Duration,
}

/// What a gateway has.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Subscribers")]
pub(crate) struct SubscriberArgs {
    #[arg(
        long,
        env = "TAILWATER_MAX_CONNECTIONS",
        value_name = "N",
        help = "Subscriptions at a time [default: the limit of open files less 10 %]"
    )]
    pub(crate) max_connections: Option<usize>,
    #[arg(
        long,
        env = "TAILWATER_MAX_TOPICS",
        default_value_t = 64,
        value_name = "N",
        help = "Topics in one subscription"
    )]
    pub(crate) max_topics: usize,
    #[arg(long, env = "TAILWATER_HEARTBEAT", default_value = "15s", value_parser = humantime::parse_duration, help = "Silence after which a comment is sent (3s to 60s)")]
    pub(crate) heartbeat: Duration,
    #[arg(long, env = "TAILWATER_RETRY", default_value = "2s", value_parser = humantime::parse_duration, help = "Least pause of a client before it reconnects; each is told one up to twice as long (500ms to 1h)")]
    pub(crate) retry: Duration,
    #[arg(long, env = "TAILWATER_MAX_AGE", default_value = "30m", value_parser = humantime::parse_duration, help = "Age at which a connection is handed away, give or take a fifth")]
    pub(crate) max_age: Duration,
    #[arg(long, env = "TAILWATER_DRAIN_WINDOW", default_value = "30s", value_parser = humantime::parse_duration, help = "Time after --drain-delay over which connections are handed away evenly")]
    pub(crate) drain_window: Duration,
}

/// What the log keeps. The same on every node of a cluster.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    #[arg(
        long,
        env = "TAILWATER_HISTORY_EVENTS",
        default_value_t = 1000,
        value_name = "N",
        help = "Events kept of a topic"
    )]
    pub(crate) history_events: usize,
    #[arg(long, env = "TAILWATER_HISTORY_AGE", default_value = "24h", value_parser = humantime::parse_duration, help = "Age at which an event is dropped")]
    pub(crate) history_age: Duration,
    #[arg(long, env = "TAILWATER_TOPIC_TTL", default_value = "7d", value_parser = humantime::parse_duration, help = "Time after its last event at which a topic's numbering is forgotten (at least twice --history-age)")]
    pub(crate) topic_ttl: Duration,
    #[arg(long, env = "TAILWATER_IDEMPOTENCY_TTL", default_value = "2m", value_parser = humantime::parse_duration, help = "Time in which a retry with the same Idempotency-Key is recognised")]
    pub(crate) idempotency_ttl: Duration,
}

/// What ingest has.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Publishers")]
pub(crate) struct PublisherArgs {
    #[arg(
        long,
        env = "TAILWATER_EVENT_BYTES_MAX",
        default_value = "256KiB",
        help = "Most bytes of an event's data"
    )]
    pub(crate) event_bytes_max: Size,
    #[arg(
        long,
        env = "TAILWATER_DURABILITY",
        default_value = "memory",
        value_name = "LEVEL",
        help = "What must hold an event before it is acknowledged: memory (the primary's), replica:K (that and K replicas), disk (the primary's, with appendfsync always)"
    )]
    pub(crate) durability: Durability,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct PublishArgs {
    #[arg(
        long,
        env = "TAILWATER_URL",
        default_value = "http://127.0.0.1:8080",
        help = "Where ingest is"
    )]
    pub(crate) url: String,
    #[arg(
        long,
        short,
        env = "TAILWATER_TOPIC",
        help = "The topic; lines of NDJSON may name their own"
    )]
    pub(crate) topic: Option<String>,
    #[arg(
        long = "type",
        short = 'T',
        env = "TAILWATER_TYPE",
        value_name = "TYPE",
        help = "The events' type"
    )]
    pub(crate) kind: Option<String>,
    #[arg(
        long,
        short,
        env = "TAILWATER_INPUT",
        default_value = "lines",
        help = "What standard input holds"
    )]
    pub(crate) input: Input,
    #[arg(
        long,
        env = "TAILWATER_END",
        help = "End the topic after the last event: nothing can follow"
    )]
    pub(crate) end: bool,
    #[arg(
        long,
        short,
        env = "TAILWATER_RECEIPTS",
        help = "Print each receipt as JSON on standard output"
    )]
    pub(crate) receipts: bool,
    #[arg(long, short, env = "TAILWATER_QUIET", value_parser = FalseyValueParser::new(), help = "No progress on standard error")]
    pub(crate) quiet: bool,
    #[arg(long, env = "TAILWATER_RETRY_FOR", default_value = "1m", value_parser = humantime::parse_duration, help = "How long to try again when ingest does not take an event")]
    pub(crate) retry_for: Duration,
    #[arg(
        value_name = "DATA",
        help = "Events to publish, one an argument; without any, standard input is read"
    )]
    pub(crate) data: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// Each line is an event's data
    Lines,
    /// Each line is {"topic","type","data","key"}, where only data is needed
    Ndjson,
    /// An event stream, as another SSE server sends it
    Sse,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct TailArgs {
    #[arg(
        long,
        env = "TAILWATER_URL",
        default_value = "http://127.0.0.1:8080",
        help = "Where a gateway or a load balancer is"
    )]
    pub(crate) url: String,
    #[arg(required = true, value_name = "TOPIC", help = "What to follow")]
    pub(crate) topics: Vec<String>,
    #[arg(
        long,
        env = "TAILWATER_FROM",
        default_value = "latest",
        allow_hyphen_values = true,
        help = "Where to begin: latest, earliest, -N (the last N), or a time as 2026-01-31T12:00:00Z"
    )]
    pub(crate) from: String,
    #[arg(
        long,
        env = "TAILWATER_AFTER",
        conflicts_with = "from",
        value_name = "ID",
        help = "Go on after this event id"
    )]
    pub(crate) after: Option<String>,
    #[arg(
        long,
        env = "TAILWATER_TYPES",
        value_name = "TYPE,…",
        help = "Only events of these types"
    )]
    pub(crate) types: Option<String>,
    #[arg(
        long,
        short,
        env = "TAILWATER_COUNT",
        value_name = "N",
        help = "Stop after so many events"
    )]
    pub(crate) count: Option<u64>,
    #[arg(
        long,
        short,
        env = "TAILWATER_FORMAT",
        default_value = "text",
        help = "How to print events"
    )]
    pub(crate) format: TailFormat,
    #[arg(
        long,
        env = "TAILWATER_STATE",
        help = "Keep the place in this file: go on from it, and write it after each event"
    )]
    pub(crate) state: Option<PathBuf>,
    #[arg(
        long,
        short,
        env = "TAILWATER_QUIET",
        value_parser = FalseyValueParser::new(),
        help = "Say nothing of connections on standard error; gaps are always told"
    )]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFormat {
    /// Time, topic, type and data
    Text,
    /// One JSON object a line: {"id","topic","type","data","time"}
    Json,
    /// The data alone
    Data,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CheckArgs {
    #[arg(
        long,
        value_name = "URL",
        help = "Ask a running node instead: its admin address, as http://127.0.0.1:9090"
    )]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}
