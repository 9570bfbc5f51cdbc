//! A primary whose Sentinels put another in its place.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, wait};

/// The time in which Sentinels must turn a primary that has come back into a replica.
const DEMOTION_DEADLINE: Duration = Duration::from_secs(40);

/// A priority that comes before that of all other replicas.
const PREFERRED: &str = "1";

/// Waits until the old primary follows the new one.
async fn demoted(lab: &Lab) -> Result<()> {
    let old = &lab.servers[0];
    wait("the old primary is a replica", DEMOTION_DEADLINE, async || {
        Ok(old.info("role").await? == "slave" && old.info("master_link_status").await? == "up")
    })
    .await
}

async fn promoted(lab: &mut Lab) -> Result<()> {
    let took = lab.wait_promoted(lab.servers[0].inner_addr()).await?;
    lab.mend("promotion");
    lab.note(format!("another server was the primary after {took:.1?}"));
    Ok(())
}

/// Kills the primary, and brings it back when another has taken its place.
pub(in super::super) async fn kill(lab: &mut Lab) -> Result<()> {
    lab.fault("kill -9 of the primary");
    lab.servers[0].kill_nine()?;
    promoted(lab).await?;
    lab.run_for(1.0, 2.0).await;
    lab.servers[0].restart().await?;
    demoted(lab).await?;
    lab.mend("the old one is a replica");
    Ok(())
}

/// Kills the primary while a replica lacks the last second, which the Sentinels prefer to the other one.
pub(in super::super) async fn promote_lagging(lab: &mut Lab) -> Result<()> {
    let preferred = lab.servers.last().context("no replica")?;
    preferred.query(&["CONFIG", "SET", "replica-priority", PREFERRED]).await?;
    lab.wait_preferred(PREFERRED).await?;
    lab.fault("a replica lags");
    lab.servers[2].freeze()?;
    lab.run_for(1.0, 1.2).await;
    lab.fault("kill -9 of the primary");
    lab.servers[0].kill_nine()?;
    lab.servers[2].thaw()?;
    promoted(lab).await?;
    ensure!(lab.servers[2].info("role").await? == "master", "the other replica was promoted");
    lab.run_for(1.0, 2.0).await;
    lab.servers[0].restart().await?;
    demoted(lab).await?;
    lab.mend("the old one is a replica");
    Ok(())
}

/// A fail-over as an operator does it.
pub(in super::super) async fn fail_over(lab: &mut Lab) -> Result<()> {
    lab.fault("SENTINEL FAILOVER");
    lab.fail_over().await?;
    promoted(lab).await?;
    demoted(lab).await?;
    lab.mend("the old one is a replica");
    Ok(())
}

/// Freezes the primary past the fail-over.
pub(in super::super) async fn freeze(lab: &mut Lab) -> Result<()> {
    lab.fault("freeze the primary");
    lab.servers[0].freeze()?;
    promoted(lab).await?;
    lab.run_for(1.0, 2.0).await;
    lab.servers[0].thaw()?;
    lab.mend("thaw it");
    demoted(lab).await?;
    lab.mend("it is a replica");
    Ok(())
}

/// Separates the primary and the ingest from all other nodes.
pub(in super::super) async fn part(lab: &mut Lab) -> Result<()> {
    let network = lab.network.as_ref().context("no network to part")?;
    network.part(true)?;
    lab.fault("the network parts");
    promoted(lab).await?;
    lab.run_for(2.0, 3.0).await;
    lab.network.as_ref().context("no network to part")?.part(false)?;
    lab.mend("the network is whole");
    demoted(lab).await?;
    lab.mend("the old primary is a replica");
    lab.run_for(1.0, 2.0).await;
    Ok(())
}
