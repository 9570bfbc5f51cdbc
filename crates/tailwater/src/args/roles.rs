//! The commands that run a node, or check its configuration.

use clap::{Args as ClapArgs, Subcommand};

use super::{
    AccessArgs, AddressArgs, LimitArgs, LogArgs, MercureArgs, NodeArgs, PublisherArgs, ReadArgs,
    RelayArgs, SubscriberArgs,
};

/// The help of `--redis`, which three commands have.
pub(super) const REDIS: &str = "URL of the Redis that stores the events: redis://[user:password@]host[:port], \
    redis+sentinel://host[:port],host/master or redis+cluster://host[:port],host; rediss instead of \
    redis connects over TLS. A password in a flag shows in the list of processes; one in \
    TAILWATER_REDIS or in --redis-password-file does not";

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
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
    pub(crate) mercure: MercureArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(mut_arg("listen", |arg| arg.default_value("[::]:8080")))]
#[command(mut_arg("admin_listen", |arg| arg.default_value("[::]:9090")))]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
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
    pub(crate) mercure: MercureArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(mut_arg("listen", |arg| arg.default_value("[::]:8081")))]
#[command(mut_arg("admin_listen", |arg| arg.default_value("[::]:9090")))]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
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
    pub(crate) mercure: MercureArgs,
    #[command(flatten)]
    pub(crate) publishers: PublisherArgs,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    pub(crate) role: Option<CheckedRole>,
    /// Ask a running node whether it is ready instead; its admin address, such as
    /// http://127.0.0.1:9090.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// A node with other flags than those of `serve`, which are those of a gateway and an ingest together.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CheckedRole {
    /// Validate the flags of a relay, connect to Redis and to the upstream, and report.
    Relay(Box<RelayArgs>),
}
