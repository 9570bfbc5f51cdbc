//! The command line and its help: clap reads the doc comments below. Every flag is an environment
//! variable too.
//!
//! Holds values as they were given. `config` validates them.

mod access;
mod addresses;
mod client;
mod limits;
mod mercure;
mod node;
mod quotas;
mod relay;
mod roles;
mod services;
mod size;
mod token;
mod topics;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use access::AccessArgs;
pub(crate) use addresses::AddressArgs;
pub(crate) use client::{ClientToken, Input, OnGap, PublishArgs, TailArgs, TailFormat};
pub(crate) use limits::LimitArgs;
pub(crate) use mercure::MercureArgs;
pub(crate) use node::NodeArgs;
pub(crate) use relay::{AnswerArgs, RelayArgs, SourceArgs};
pub(crate) use roles::{CheckArgs, CheckedRole, GatewayArgs, IngestArgs, ServeArgs};
pub(crate) use services::{LogArgs, PublisherArgs, ReadArgs, RedisArgs, SubscriberArgs};
pub(crate) use size::Size;
pub(crate) use token::{
    ExplainArgs, KeyArgs, KeyKind, MintArgs, TokenArgs, TokenCommand, TokenSource,
};
pub(crate) use topics::{
    DeleteArgs, EraseArgs, ListArgs, SpacesArgs, StoreArgs, TopicsArgs, TopicsCommand,
};

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
    /// Pass requests on to an upstream, and make its streaming answers resumable.
    Relay(Box<RelayArgs>),
    /// Publish events from arguments or standard input.
    Publish(PublishArgs),
    /// Follow topics: reconnect, resume and report gaps.
    Tail(TailArgs),
    /// Validate a configuration, connect to what it names, and report.
    Check(CheckArgs),
    /// List the topics that Redis stores, delete topics, erase events.
    Topics(TopicsArgs),
    /// Show the spaces of a cluster, or change them.
    Spaces(SpacesArgs),
    /// Make keys and tokens for trying out, and explain tokens.
    Token(TokenArgs),
    /// Print the completions of a shell, for a file that the shell reads.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// Folder for the pages; it must exist.
        dir: PathBuf,
    },
}
