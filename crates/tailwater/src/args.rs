//! The command line and its help: clap reads the doc comments below. Every flag is an environment
//! variable too.
//!
//! Holds values as they were given. `config` validates them.

mod size;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use humantime::parse_duration;

use redis_log::Durability;
pub(crate) use size::Size;

use crate::telemetry::LogFormat;

/// Resumable Server-Sent Events from any node.
///
/// Publishers POST events to topics, and subscribers GET them as an event stream. If a node dies, its
/// subscribers reconnect to any other node and resume where they were: browsers send the id of the
/// last event, as Last-Event-ID, by themselves.
///
/// Every flag is also an environment variable: --drain-window is TAILWATER_DRAIN_WINDOW. Durations
/// have a unit (500ms, 30s, 24h), and so have sizes (256KiB).
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve subscribers and publishers on one port; without --redis, events are kept in memory.
    Serve(ServeArgs),
    /// Serve subscribers with events from Redis.
    Gateway(GatewayArgs),
    /// Accept events from publishers and store them in Redis.
    Ingest(IngestArgs),
    /// Publish events from arguments or standard input.
    Publish(PublishArgs),
    /// Follow topics: reconnect, resume and report gaps.
    Tail(TailArgs),
    /// Validate a configuration, connect to what it names, and report.
    Check(CheckArgs),
}

/// The help of `--redis`, which three commands have.
const REDIS: &str = "URL of the Redis that stores the events: redis://[user:password@]host[:port], \
    redis+sentinel://host[:port],host/master or redis+cluster://host[:port],host; rediss instead of \
    redis connects over TLS";

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Address for subscribers and publishers.
    #[arg(long, env = "TAILWATER_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
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
    /// Address for subscribers.
    #[arg(long, env = "TAILWATER_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
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
    /// Address for publishers.
    #[arg(long, env = "TAILWATER_LISTEN", default_value = "0.0.0.0:8081")]
    pub(crate) listen: SocketAddr,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
}

/// The flags of every node.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
    /// Address for /metrics, /livez, /readyz, /debug/connections and /debug/log.
    #[arg(long, env = "TAILWATER_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub(crate) admin_listen: SocketAddr,
    /// Serve --listen over TLS with this certificate and its chain (PEM); a changed file is reloaded
    /// within 10s.
    #[arg(long, env = "TAILWATER_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM).
    #[arg(long, env = "TAILWATER_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Keys of TLS session tickets, the same file on all nodes, so that clients resume their sessions on
    /// any node: one key a line, newest first, each the base64 of 32 random bytes (openssl rand -base64
    /// 32); a changed file is reloaded within 10s.
    #[arg(long, env = "TAILWATER_TLS_TICKET_KEYS", value_name = "FILE")]
    pub(crate) tls_ticket_keys: Option<PathBuf>,
    /// Name of this node, which clients see [default: the host name].
    #[arg(long, env = "TAILWATER_NODE", value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Format of the log on standard error.
    #[arg(long, env = "TAILWATER_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Log levels: debug, or gateway=debug,info; tailwater::connection=off,info omits the line that
    /// each connection logs when it closes.
    #[arg(long, env = "TAILWATER_LOG_LEVEL", default_value = "info", value_name = "LEVELS")]
    pub(crate) log_level: String,
    /// Send traces to this OTLP/HTTP receiver, such as http://collector:4318.
    #[arg(long, env = "TAILWATER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Share of the traces begun here that are sent, 0 to 1; a request with a traceparent brings its
    /// own decision.
    #[arg(long, env = "TAILWATER_OTLP_RATIO", default_value_t = 1.0, value_name = "RATIO")]
    pub(crate) otlp_ratio: f64,
    /// Other web origins whose pages may use this node; * allows any; may be repeated.
    #[arg(long, env = "TAILWATER_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<String>,
    /// Names by which clients call a node that listens on a loopback address, besides local ones; may
    /// be repeated.
    #[arg(long, env = "TAILWATER_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Time after SIGTERM in which the node reports not ready and still serves, so that load balancers
    /// notice.
    #[arg(long, env = "TAILWATER_DRAIN_DELAY", default_value = "5s", value_parser = parse_duration)]
    pub(crate) drain_delay: Duration,
    /// Time for open requests to finish before the process exits.
    #[arg(long, env = "TAILWATER_SHUTDOWN_GRACE", default_value = "5s", value_parser = parse_duration)]
    pub(crate) shutdown_grace: Duration,
}

/// The flags of a node that serves subscribers.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Subscribers")]
pub(crate) struct SubscriberArgs {
    /// Maximum number of open subscriptions [default: the limit of open files less 10 %].
    #[arg(long, env = "TAILWATER_MAX_CONNECTIONS", value_name = "N")]
    pub(crate) max_connections: Option<usize>,
    /// Maximum number of topics in one subscription.
    #[arg(long, env = "TAILWATER_MAX_TOPICS", default_value_t = 64, value_name = "N")]
    pub(crate) max_topics: usize,
    /// Silence after which a comment is sent to keep the connection open (3s to 60s).
    #[arg(long, env = "TAILWATER_HEARTBEAT", default_value = "15s", value_parser = parse_duration)]
    pub(crate) heartbeat: Duration,
    /// Minimum time that a client waits before it reconnects (500ms to 1h); each client is told a
    /// random time up to twice as long.
    #[arg(long, env = "TAILWATER_RETRY", default_value = "2s", value_parser = parse_duration)]
    pub(crate) retry: Duration,
    /// Age at which a client is told to reconnect, varied by up to 20 %.
    #[arg(long, env = "TAILWATER_MAX_AGE", default_value = "30m", value_parser = parse_duration)]
    pub(crate) max_age: Duration,
    /// Time after --drain-delay over which clients are told to reconnect, evenly spread.
    #[arg(long, env = "TAILWATER_DRAIN_WINDOW", default_value = "30s", value_parser = parse_duration)]
    pub(crate) drain_window: Duration,
}

/// The flags of the log, which must be the same on every node of a cluster.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Number of events kept per topic.
    #[arg(long, env = "TAILWATER_HISTORY_EVENTS", default_value_t = 1000, value_name = "N")]
    pub(crate) history_events: usize,
    /// Age at which an event is dropped.
    #[arg(long, env = "TAILWATER_HISTORY_AGE", default_value = "24h", value_parser = parse_duration)]
    pub(crate) history_age: Duration,
    /// Time without events after which a topic's numbering is forgotten (at least twice
    /// --history-age).
    #[arg(long, env = "TAILWATER_TOPIC_TTL", default_value = "7d", value_parser = parse_duration)]
    pub(crate) topic_ttl: Duration,
    /// Time in which a retry with the same Idempotency-Key is recognised.
    #[arg(long, env = "TAILWATER_IDEMPOTENCY_TTL", default_value = "2m", value_parser = parse_duration)]
    pub(crate) idempotency_ttl: Duration,
}

/// The flags of a node that serves publishers.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Publishers")]
pub(crate) struct PublisherArgs {
    /// Largest event data, in bytes.
    #[arg(long, env = "TAILWATER_EVENT_BYTES_MAX", default_value = "256KiB", value_name = "SIZE")]
    pub(crate) event_bytes_max: Size,
    /// Where an event must be stored before it is acknowledged: memory (of the primary), replica:K
    /// (also in memory of K replicas), disk (of the primary, which needs appendfsync always).
    #[arg(long, env = "TAILWATER_DURABILITY", default_value = "memory", value_name = "LEVEL")]
    pub(crate) durability: Durability,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct PublishArgs {
    /// URL of an ingest node or a load balancer.
    #[arg(long, env = "TAILWATER_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Topic of the events; a line of NDJSON may name its own.
    #[arg(long, short, env = "TAILWATER_TOPIC")]
    pub(crate) topic: Option<String>,
    /// Type of the events.
    #[arg(long = "type", short = 'T', env = "TAILWATER_TYPE", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Format of standard input.
    #[arg(long, short, env = "TAILWATER_INPUT", default_value = "lines")]
    pub(crate) input: Input,
    /// End the topic after the last event; an ended topic accepts no more events.
    #[arg(long, env = "TAILWATER_END")]
    pub(crate) end: bool,
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
    /// An event stream, as another SSE server sends it
    Sse,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct TailArgs {
    /// URL of a gateway or a load balancer.
    #[arg(long, env = "TAILWATER_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Topics to follow.
    #[arg(required = true, value_name = "TOPIC")]
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

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CheckArgs {
    /// Ask a running node whether it is ready instead; its admin address, such as
    /// http://127.0.0.1:9090.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}
