//! The faults of a run, and their times.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep_until;

use super::{Options, Stage};
use crate::machine::ServerState;
use crate::machine::cluster::Cluster;
use crate::report::timeline::MarkKind;

/// Between two kills of a gateway. The first comes after half of it, so that kills stay clear of
/// the third and two thirds of a run of a minute.
const KILL_EVERY: Duration = Duration::from_secs(10);

/// One thing that is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailoverFault {
    KillGateway(usize),
    KillIngest,
    StopGateway(usize),
}

/// The faults of a run in order of time.
fn schedule(duration: Duration, gateways: usize) -> Vec<(Duration, FailoverFault)> {
    let mut schedule: Vec<(Duration, FailoverFault)> = (0..)
        .map(|turn: u32| (KILL_EVERY * turn + KILL_EVERY / 2, turn as usize % gateways))
        .take_while(|(at, _)| *at < duration)
        .map(|(at, gateway)| (at, FailoverFault::KillGateway(gateway)))
        .collect();
    schedule.push((duration / 3, FailoverFault::KillIngest));
    let stop_at = duration * 2 / 3;
    // Not the one that is killed next: it would have no time to show a clean stop.
    let killed = schedule.iter().filter(|(at, _)| *at <= stop_at).count();
    schedule.push((stop_at, FailoverFault::StopGateway(killed % gateways)));
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

impl Options {
    /// Plays the schedule. Returns the failures of the processes.
    pub(super) async fn break_things(
        &self,
        stage: &Stage,
        cluster: &mut Cluster,
    ) -> Result<Vec<String>> {
        let mut broken = Vec::new();
        let begin = stage.began();
        for (at, fault) in schedule(self.duration, self.gateways) {
            sleep_until(begin + at).await;
            match fault {
                FailoverFault::KillGateway(index) => kill_gateway(stage, cluster, index).await?,
                FailoverFault::KillIngest => {
                    stage.mark(MarkKind::Fault, "kill -9 ingest");
                    cluster.ingest.kill_nine()?;
                    cluster.ingest.restart().await?;
                }
                FailoverFault::StopGateway(index) => {
                    broken.extend(stop_gateway(stage, cluster, index).await?);
                }
            }
        }
        Ok(broken)
    }
}

async fn kill_gateway(stage: &Stage, cluster: &mut Cluster, index: usize) -> Result<()> {
    let gateway = &mut cluster.gateways[index];
    stage.mark(MarkKind::Fault, &format!("kill -9 {}", gateway.node()));
    gateway.kill_nine()?;
    gateway.restart().await
}

/// Stops a gateway as an operator would, and brings it back.
async fn stop_gateway(
    stage: &Stage,
    cluster: &mut Cluster,
    index: usize,
) -> Result<Option<String>> {
    let gateway = &mut cluster.gateways[index];
    let node = gateway.node().to_owned();
    stage.mark(MarkKind::Operation, &format!("stop {node}"));
    cluster.haproxy.set_server(&node, ServerState::Drain).await?;
    let broken = match gateway.terminate().await {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("{node} was stopped and left with {status}")),
        Err(error) => Some(format!("{error:#}")),
    };
    gateway.restart().await?;
    cluster.haproxy.set_server(&node, ServerState::Ready).await?;
    stage.mark(MarkKind::Operation, &format!("{node} back"));
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FailoverFault, schedule};

    #[test]
    fn minute_has_six_kills_one_ingest_and_one_clean_stop() {
        let schedule = schedule(Duration::from_secs(60), 3);
        let seconds: Vec<u64> = schedule.iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(seconds, [5, 15, 20, 25, 35, 40, 45, 55]);
        assert_eq!(schedule[2].1, FailoverFault::KillIngest);
        assert_eq!(schedule[5].1, FailoverFault::StopGateway(2));
        assert_eq!(schedule[6].1, FailoverFault::KillGateway(1));
    }
}
