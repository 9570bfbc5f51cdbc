//! The attacks: each is one client with little effort.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::target::Besieged;
use super::{fleet, raw, streams};

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Empty events in new topics, as fast as possible
    NewTopics,
    /// 1,200 publishes over 2 HTTP/2 connections without a byte of body
    IdlePublishes,
    /// The same with bodies that would stream events
    IdleStreams,
    /// 600 HTTP/2 streams over one connection, 4 topics of 256 KiB events, one byte of window
    PinnedPages,
    /// 300 lines of 1.5 MB that do not end
    UnfinishedLines,
    /// A filter of 8,000 types
    ManyTypes,
    /// Replays of 200 events of 16 KiB before 200 small ones, over 6 connections
    ReplaySteps,
    /// Replays of 130 events of 256 KiB, over 6 connections
    ReplayLarge,
    /// Replays that begin 890 events back, over 6 connections
    SeekBack,
    /// 2,000 connections that send one byte
    Silent,
    /// 500 connections to the admin port that send one byte
    SilentAdmin,
    /// 300 HTTP/2 connections without a request
    IdleConnections,
    /// 375 clients at a full node that do not wait before they come back
    Haste,
    /// 200 clients of event-source-plus at one address, at a full node
    Fleet,
    /// The same at four addresses
    Fleets,
}

/// The result of an attack.
#[derive(Clone, Debug)]
pub(super) struct Loot {
    /// The things that the attacker got, in words.
    pub(super) held: String,
    /// Bytes of replays, and their number.
    pub(super) replayed: Option<(u64, u64)>,
    pub(super) failures: Vec<String>,
}

/// Subscriptions of a node that hasty clients fill: half of them are one address's.
const HASTE_NODE: usize = 450;
/// Hasty clients: those that fill the share of their address, and 150 that are refused.
const HASTE_CLIENTS: usize = HASTE_NODE / 2 + 150;
/// Refusals or requests a second of one address at a full node.
const HASTE_RATE_MAX: f64 = 20.0;
/// Connections of a replay.
const REPLAYS: usize = 6;
/// Bytes of each of the histories.
const STEPS_BYTES: u64 = 200 * (16 * 1024 + 64) + 200 * 64;
const LARGE_BYTES: u64 = 130 * (256 * 1024 + 64);
const BACK_BYTES: u64 = 890 * (16 * 1024 + 32);
/// The preface of HTTP/2 with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

impl Attack {
    pub(super) const ALL: &[Self] = &[
        Self::NewTopics,
        Self::IdlePublishes,
        Self::IdleStreams,
        Self::PinnedPages,
        Self::UnfinishedLines,
        Self::ManyTypes,
        Self::ReplaySteps,
        Self::ReplayLarge,
        Self::SeekBack,
        Self::Silent,
        Self::SilentAdmin,
        Self::IdleConnections,
        Self::Haste,
        Self::Fleet,
        Self::Fleets,
    ];
    /// Those of the short form.
    pub(super) const QUICK: &[Self] =
        &[Self::NewTopics, Self::IdleStreams, Self::UnfinishedLines, Self::Silent];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NewTopics => "new topics",
            Self::IdlePublishes => "idle publishes",
            Self::IdleStreams => "idle streams",
            Self::PinnedPages => "pinned pages",
            Self::UnfinishedLines => "unfinished lines",
            Self::ManyTypes => "many types",
            Self::ReplaySteps => "replay, steps",
            Self::ReplayLarge => "replay, large",
            Self::SeekBack => "seek back",
            Self::Silent => "silent",
            Self::SilentAdmin => "silent, admin",
            Self::IdleConnections => "idle HTTP/2",
            Self::Haste => "haste",
            Self::Fleet => "fleet",
            Self::Fleets => "fleet, 4 addresses",
        }
    }

    /// The flags of the node, as variables. `honest`: the subscribers that are there before the attack.
    pub(super) fn flags(self, honest: usize) -> Vec<(&'static str, String)> {
        match self {
            Self::Haste => vec![("TAILWATER_MAX_CONNECTIONS", HASTE_NODE.to_string())],
            // The honest subscribers, all at one address, fill the node.
            Self::Fleet | Self::Fleets => vec![
                ("TAILWATER_MAX_CONNECTIONS", honest.to_string()),
                ("TAILWATER_ADDRESS_SHARE", "1".to_owned()),
            ],
            _ => Vec::new(),
        }
    }

    /// Publishes the history that the attack needs.
    pub(super) async fn prepare(self, target: &Besieged) -> Result<()> {
        match self {
            Self::PinnedPages => {
                for topic in ["p1", "p2", "p3", "p4"] {
                    target.fill(topic, 4, 256 * 1024).await?;
                }
                Ok(())
            }
            Self::ReplaySteps => {
                target.fill("steps", 200, 16 * 1024).await?;
                target.fill("steps", 200, 20).await
            }
            Self::ReplayLarge => target.fill("large", 130, 256 * 1024).await,
            Self::SeekBack => target.fill("back", 900, 16 * 1024).await,
            _ => Ok(()),
        }
    }

    /// Attacks for `time`. `programs`: the directory of interop/setup.
    pub(super) async fn run(
        self,
        target: &Besieged,
        programs: &Path,
        time: Duration,
    ) -> Result<Loot> {
        let (addr, mut replayed, mut failures) = (target.addr(), None, Vec::new());
        let held = match self {
            Self::NewTopics => format!("{} new topics", raw::flood(addr, time).await),
            Self::IdlePublishes | Self::IdleStreams => {
                let kind = match self {
                    Self::IdleStreams => "application/x-ndjson",
                    _ => "text/plain",
                };
                let streams = streams::send_nothing(addr, kind, (2, 600), time).await?;
                format!("{streams} tried")
            }
            Self::PinnedPages => {
                let query = "topic=p1&topic=p2&topic=p3&topic=p4&from=earliest";
                let streams = streams::take_nothing(addr, query, (1, 600, 1), time).await?;
                format!("{streams} tried")
            }
            Self::UnfinishedLines => {
                let mut bytes = b"POST /v1/events?topic=lines HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/x-ndjson\r\ncontent-length: 9000000\r\n\r\n{\"data\":\""
                    .to_vec();
                bytes.resize(bytes.len() + 1_500_000, b'x');
                format!("{} bodies", raw::hold(addr, 300, &bytes, time).await)
            }
            Self::ManyTypes => {
                let types: Vec<_> = (0..8_000).map(|n| format!("t{n}")).collect();
                let path = format!("/v1/events?topic=t&types={}", types.join(","));
                let status = raw::status(addr, &path).await?;
                if status != 400 {
                    failures.push(format!("8,000 types were answered {status}"));
                }
                format!("answer {status}")
            }
            Self::ReplaySteps | Self::ReplayLarge | Self::SeekBack => {
                let (query, each) = match self {
                    Self::ReplaySteps => ("topic=steps&from=earliest", STEPS_BYTES),
                    Self::ReplayLarge => ("topic=large&from=earliest", LARGE_BYTES),
                    _ => ("topic=back&from=-890", BACK_BYTES),
                };
                let got = raw::replay(addr, query, REPLAYS, each, time).await;
                replayed = Some(got);
                format!("{:.0} MB in {} replays", got.0 as f64 / 1e6, got.1)
            }
            Self::Silent => format!("{} connections", raw::hold(addr, 2000, b"G", time).await),
            Self::SilentAdmin => {
                let open = raw::hold(target.admin(), 500, b"G", time).await;
                format!("{open} connections")
            }
            Self::Haste => {
                let refusals = raw::hurry(addr, HASTE_CLIENTS, time).await;
                let rate = refusals as f64 / time.as_secs_f64();
                if rate > HASTE_RATE_MAX {
                    failures.push(format!("{rate:.0} refusals a second of one address"));
                }
                format!("{rate:.0} refusals/s")
            }
            Self::Fleet | Self::Fleets => {
                let addresses = if self == Self::Fleet { 1 } else { 4 };
                let fleet::Requests { arrival, per_second } =
                    fleet::run(addr, programs, addresses, time).await?;
                if per_second > HASTE_RATE_MAX {
                    failures.push(format!("{per_second:.0} requests a second of one address"));
                }
                format!("{per_second:.1} requests/s, {arrival} at first")
            }
            Self::IdleConnections => {
                format!("{} connections", raw::hold(addr, 300, PREFACE, time).await)
            }
        };
        Ok(Loot { held, replayed, failures })
    }
}
