//! The commands `topics` and `spaces`: what Redis stores.

use clap::{Args as ClapArgs, Subcommand};

use super::RedisArgs;
use super::roles::REDIS;

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    pub(crate) command: TopicsCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TopicsCommand {
    /// List topics, largest first, with their events, memory, age and the nodes that watch them.
    List(ListArgs),
    /// Delete topics with their events and numbering; their subscribers are told of a reset.
    Delete(DeleteArgs),
    /// Erase one event from the log and from the memory of nodes; its subscribers are told of a gap of one event.
    Erase(EraseArgs),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct SpacesArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The spaces that the cluster has from now on. Nodes with others serve nothing until they are started anew; events
    /// of topics that move into a space, or out of one, are not moved.
    #[arg(long, value_name = "PREFIX/,…", value_delimiter = ',')]
    pub(crate) set: Vec<String>,
    /// Leave the cluster without spaces.
    #[arg(long, conflicts_with = "set")]
    pub(crate) clear: bool,
}

/// The Redis of a cluster, and the operator's login.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct StoreArgs {
    #[arg(long, env = "TAILWATER_REDIS", hide_env_values = true, value_name = "URL", help = REDIS)]
    pub(crate) redis: String,
    #[command(flatten)]
    pub(crate) beside: RedisArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Topics to list, as in rights: orders/*, orders/**.
    #[arg(default_value = "**", value_name = "PATTERN")]
    pub(crate) pattern: String,
    /// Number of topics to list; the totals are of all.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) limit: usize,
    /// Print JSON, a line for each topic.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Names of topics.
    #[arg(required = true, value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Name of the topic.
    pub(crate) topic: String,
    /// Id of the event in its receipt, such as 1791542400000-42.
    pub(crate) id: String,
}
