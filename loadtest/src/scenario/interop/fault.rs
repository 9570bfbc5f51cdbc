//! The faults of the matrix.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::Deserialize;
use tokio::time::sleep;

use super::front::{CutPlace, Front};
use crate::machine::{Redis, Tailwater};

/// The time after a fault for clients to come back: more than the longest pause that `retry` asks for.
const RETURN: Duration = Duration::from_secs(6);
/// The time for which all gateways are away.
const AWAY: Duration = Duration::from_secs(2);

/// An event in the life of the cluster or of the network.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClusterFault {
    /// Each gateway is killed with SIGKILL in turn.
    Kill,
    /// Each gateway is drained with SIGTERM in turn.
    Drain,
    /// Redis is stopped and started again.
    Redis,
    /// All gateways are killed and away for 2 s.
    Away,
    /// Streams are cut inside of an event, three times.
    Cut,
    /// The publisher ends the topic.
    End,
}

impl ClusterFault {
    pub(super) const ALL: [ClusterFault; 6] = [
        ClusterFault::Kill,
        ClusterFault::Drain,
        ClusterFault::Redis,
        ClusterFault::Away,
        ClusterFault::Cut,
        ClusterFault::End,
    ];
    pub(super) const QUICK: [ClusterFault; 2] = [ClusterFault::Kill, ClusterFault::End];

    /// The heading of its column.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            ClusterFault::Kill => "kill -9",
            ClusterFault::Drain => "drain",
            ClusterFault::Redis => "Redis restart",
            ClusterFault::Away => "no gateway for 2 s",
            ClusterFault::Cut => "cut in an event",
            ClusterFault::End => "end of topic",
        }
    }

    /// Causes it, and gives the clients time to come back.
    pub(super) async fn cause(
        self,
        gateways: &mut [Tailwater],
        redis: &mut Redis,
        fronts: &[&Front],
    ) -> Result<()> {
        match self {
            ClusterFault::Kill => {
                for gateway in gateways {
                    gateway.kill_nine()?;
                    gateway.restart().await?;
                    sleep(RETURN).await;
                }
            }
            ClusterFault::Drain => {
                for gateway in gateways {
                    gateway.terminate().await?;
                    gateway.restart().await?;
                    sleep(RETURN).await;
                }
            }
            ClusterFault::Redis => {
                redis.stop().await?;
                redis.restart().await?;
                sleep(RETURN).await;
            }
            ClusterFault::Away => {
                for gateway in gateways.iter_mut() {
                    gateway.kill_nine()?;
                }
                sleep(AWAY).await;
                for gateway in gateways.iter_mut() {
                    gateway.restart().await?;
                }
                sleep(RETURN).await;
            }
            ClusterFault::Cut => {
                for place in CutPlace::ALL {
                    for front in fronts {
                        front.cut(place);
                    }
                    sleep(RETURN).await;
                }
            }
            ClusterFault::End => {}
        }
        Ok(())
    }
}
