//! The servers that are compared, and the start of each.

mod centrifugo;
mod launch;
mod mercure;
mod nginx;
mod passage;
mod peer;
mod stack;

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::cost::mint::Signature;
use crate::machine::CoreSet;

pub use self::passage::{Passage, PassageCpu, RelayWay};
pub use self::stack::{Cpu, Holding, Stack};

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// One thread, epoll and send(): the cost of the kernel alone.
    Floor,
    /// `tailwater serve` with the embedded log.
    Tailwater,
    /// `tailwater gateway`, `tailwater ingest` and their Redis.
    TailwaterRedis,
    /// `tailwater serve` of another build (`--before`).
    Before,
    /// The same three of another build.
    BeforeRedis,
    /// `tailwater serve --cors-origin`; every reader sends that origin.
    TailwaterCors,
    /// The same of another build.
    BeforeCors,
    /// `tailwater serve` on the cores of `--two-cores`.
    TailwaterTwoCores,
    /// The same of another build.
    BeforeTwoCores,
    /// `tailwater serve` that demands tokens; every reader has one of its own, by ES256.
    TailwaterEs256,
    /// The same by EdDSA.
    TailwaterEddsa,
    /// The same by HS256.
    TailwaterHs256,
    /// axum's Sse with tokio's broadcast.
    Naive,
    /// A task a connection and WebSocket frames, for `styles` alone.
    #[value(skip)]
    Websocket,
    /// nginx with nchan (Debian: nginx, libnginx-mod-nchan).
    Nchan,
    /// nginx with nchan, and its Redis (storage mode `backup`).
    NchanRedis,
    /// The hub Mercure, which stores nothing (`scripts/setup peers`).
    Mercure,
    /// The same with its history in a file.
    MercureBolt,
    /// The hub Centrifugo with its events in memory (`scripts/setup peers`).
    Centrifugo,
    /// The same with its Redis.
    CentrifugoRedis,
    /// `tailwater serve` with a space of topics, whose readers may select by patterns.
    TailwaterSpace,
}

/// The programs of the contenders, their cores and their directory.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The program under test.
    pub tailwater: PathBuf,
    /// Another build of it.
    pub before: Option<PathBuf>,
    /// The cores that all processes of a server share.
    pub cores: CoreSet,
    /// The directory of their logs.
    pub directory: PathBuf,
}

impl Contender {
    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Tailwater => "tailwater",
            Self::TailwaterRedis => "tailwater-redis",
            Self::Before => "before",
            Self::BeforeRedis => "before-redis",
            Self::TailwaterCors => "tailwater-cors",
            Self::BeforeCors => "before-cors",
            Self::TailwaterTwoCores => "tailwater-two-cores",
            Self::BeforeTwoCores => "before-two-cores",
            Self::TailwaterEs256 => "tailwater-es256",
            Self::TailwaterEddsa => "tailwater-eddsa",
            Self::TailwaterHs256 => "tailwater-hs256",
            Self::Naive => "naive",
            Self::Websocket => "websocket",
            Self::Nchan => "nchan",
            Self::NchanRedis => "nchan-redis",
            Self::Mercure => "mercure",
            Self::MercureBolt => "mercure-bolt",
            Self::Centrifugo => "centrifugo",
            Self::CentrifugoRedis => "centrifugo-redis",
            Self::TailwaterSpace => "tailwater-space",
        }
    }

    /// Returns true for a build of Tailwater.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Tailwater | Self::TailwaterRedis | Self::TailwaterCors)
            || matches!(self, Self::TailwaterTwoCores | Self::TailwaterSpace)
            || self.signature().is_some()
            || self.is_before()
    }

    /// Returns true for the builds of `--before`.
    pub const fn is_before(self) -> bool {
        matches!(self, Self::Before | Self::BeforeRedis | Self::BeforeCors | Self::BeforeTwoCores)
    }

    /// Returns true for a cluster of a gateway, an ingest and Redis.
    pub const fn is_cluster(self) -> bool {
        matches!(self, Self::TailwaterRedis | Self::BeforeRedis)
    }

    /// Returns true if its readers come from an origin that `--cors-origin` allows.
    pub const fn has_cors(self) -> bool {
        matches!(self, Self::TailwaterCors | Self::BeforeCors)
    }

    /// The signature of the tokens that it demands.
    pub const fn signature(self) -> Option<Signature> {
        match self {
            Self::TailwaterEs256 => Some(Signature::Es256),
            Self::TailwaterEddsa => Some(Signature::EdDsa),
            Self::TailwaterHs256 => Some(Signature::Hs256),
            _ => None,
        }
    }

    /// Returns true if it runs on the cores of `--two-cores`.
    pub const fn is_on_two_cores(self) -> bool {
        matches!(self, Self::TailwaterTwoCores | Self::BeforeTwoCores)
    }

    /// Returns true for another hub, which `scripts/setup peers` builds.
    pub const fn is_peer(self) -> bool {
        matches!(self, Self::Mercure | Self::MercureBolt | Self::Centrifugo | Self::CentrifugoRedis)
    }

    /// Returns true if its nodes share their events through Redis.
    pub const fn has_redis(self) -> bool {
        self.is_cluster() || matches!(self, Self::NchanRedis | Self::CentrifugoRedis)
    }

    /// Returns true if a client can come back for the events that it has missed.
    pub const fn has_history(self) -> bool {
        !self.is_peer() || matches!(self, Self::MercureBolt)
    }

    /// Returns true if it takes tokens for single topics.
    pub const fn has_private_topics(self) -> bool {
        matches!(self, Self::TailwaterHs256 | Self::Mercure | Self::Centrifugo)
    }

    /// The pattern that selects all topics of the bench's space, if it knows patterns.
    pub const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::TailwaterSpace => Some("bench/**"),
            Self::Mercure => Some("bench/{number}"),
            _ => None,
        }
    }

    /// Returns true if it can serve more than one topic.
    pub const fn has_topics(self) -> bool {
        !matches!(self, Self::Floor | Self::Naive | Self::Websocket)
    }
}
