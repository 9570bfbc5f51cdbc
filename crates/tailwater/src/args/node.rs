//! The flags of every node.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use humantime::parse_duration;

use crate::telemetry::LogFormat;

/// The flags of every node.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
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
    /// Send traces to this OTLP/HTTP receiver, such as http://collector:4318 [default: the standard variables
    /// OTEL_EXPORTER_OTLP_...].
    #[arg(long, env = "TAILWATER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Share of the traces begun here that are sent, 0 to 1 [default: OTEL_TRACES_SAMPLER, or 1]; a request
    /// with a traceparent brings its own decision.
    #[arg(long, env = "TAILWATER_OTLP_RATIO", value_name = "RATIO")]
    pub(crate) otlp_ratio: Option<f64>,
    /// Other web origins whose pages may use this node; * allows any; may be repeated.
    #[arg(long, env = "TAILWATER_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<String>,
    /// Names by which clients call a node that listens on a loopback address, besides local ones; may
    /// be repeated.
    #[arg(long, env = "TAILWATER_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Let everybody use /debug who sends the token in this file, as Authorization: Bearer TOKEN. Without
    /// it, /debug answers this machine only.
    #[arg(long, env = "TAILWATER_DEBUG_TOKEN_FILE", value_name = "FILE")]
    pub(crate) debug_token_file: Option<PathBuf>,
    /// Time after SIGTERM in which the node reports not ready and still serves, so that load balancers
    /// notice.
    #[arg(long, env = "TAILWATER_DRAIN_DELAY", default_value = "5s", value_parser = parse_duration)]
    pub(crate) drain_delay: Duration,
    /// Time for open requests to finish before the process exits.
    #[arg(long, env = "TAILWATER_SHUTDOWN_GRACE", default_value = "5s", value_parser = parse_duration)]
    pub(crate) shutdown_grace: Duration,
}
