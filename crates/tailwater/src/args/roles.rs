//! The commands that run a node, or check its configuration.

use std::net::SocketAddr;

use clap::Args as ClapArgs;

use super::{AccessArgs, LimitArgs, LogArgs, NodeArgs, PublisherArgs, ReadArgs, SubscriberArgs};

/// The help of `--redis`, which three commands have.
pub(super) const REDIS: &str = "URL of the Redis that stores the events: redis://[user:password@]host[:port], \
    redis+sentinel://host[:port],host/master or redis+cluster://host[:port],host; rediss instead of \
    redis connects over TLS. A password in a flag shows in the list of processes; one in \
    TAILWATER_REDIS or in --redis-password-file does not";

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Addresses for subscribers and publishers, each with its port; separated by commas, or repeated. [::] is every address
    /// of this machine, IPv4 too.
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "127.0.0.1:8080,[::1]:8080",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Addresses for /metrics, /livez, /readyz, /debug/connections, sources and log.
    #[arg(
        long,
        env = "TAILWATER_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090,[::1]:9090",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) admin_listen: Vec<SocketAddr>,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
    pub(crate) redis: Option<String>,
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
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct GatewayArgs {
    /// Addresses for subscribers, each with its port; separated by commas, or repeated. [::] is every address
    /// of this machine, IPv4 too.
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "[::]:8080",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Addresses for /metrics, /livez, /readyz, /debug/connections, sources and log.
    #[arg(
        long,
        env = "TAILWATER_ADMIN_LISTEN",
        default_value = "[::]:9090",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) admin_listen: Vec<SocketAddr>,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
    pub(crate) redis: String,
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

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct IngestArgs {
    /// Addresses for publishers, each with its port; separated by commas, or repeated. [::] is every address
    /// of this machine, IPv4 too.
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "[::]:8081",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Addresses for /metrics, /livez, /readyz, /debug/connections, sources and log.
    #[arg(
        long,
        env = "TAILWATER_ADMIN_LISTEN",
        default_value = "[::]:9090",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) admin_listen: Vec<SocketAddr>,
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
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
