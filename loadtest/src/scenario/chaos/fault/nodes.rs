//! Processes that are killed, frozen, or starved.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::lab::Lab;
use crate::machine::Way;

/// Kills Redis and starts it again with the data on its disk.
pub(in super::super) async fn kill_primary(lab: &mut Lab) -> Result<()> {
    lab.fault("kill -9 redis");
    lab.server().kill_nine()?;
    lab.run_for(1.0, 2.0).await;
    lab.server().restart().await?;
    lab.mend("redis is back");
    Ok(())
}

/// Lets a replica fall behind and puts it in its primary's place. A gateway is killed as well: the
/// others have the lost events in their windows, and a reader that comes back to them misses none.
pub(in super::super) async fn promote_behind(lab: &mut Lab) -> Result<()> {
    lab.fault("replication stops");
    lab.servers[1].query(&["REPLICAOF", "NO", "ONE"]).await?;
    lab.run_for(0.5, 1.5).await;
    lab.fault("kill -9 of the primary, promotion");
    lab.servers[0].kill_nine()?;
    let new = lab.servers[1].addr();
    lab.gateway_wires.iter().chain(&lab.ingest_wire).for_each(|wire| wire.lead_to(new));
    let victim = lab.choose(lab.gateways.len());
    lab.crowd.harm(victim);
    lab.gateways[victim].kill_nine()?;
    lab.gateways[victim].restart().await?;
    lab.run_for(2.0, 3.0).await;
    Ok(())
}

/// Stops a gateway for 30 s. A client that notices the silence goes elsewhere; the others stay.
pub(in super::super) async fn freeze_gateway(lab: &mut Lab) -> Result<()> {
    let victim = lab.choose(lab.gateways.len());
    lab.fault("freeze a gateway");
    lab.crowd.harm(victim);
    lab.gateways[victim].freeze()?;
    sleep(Duration::from_secs(30)).await;
    lab.crowd.harm(victim);
    lab.gateways[victim].thaw()?;
    lab.mend("thaw it");
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// Leaves a gateway three free file descriptors and sends it clients.
pub(in super::super) async fn exhaust_files(lab: &mut Lab) -> Result<()> {
    let victim = lab.choose(lab.gateways.len());
    let killed = (victim + lab.gateways.len() - 1) % lab.gateways.len();
    let open = lab.gateways[victim].open_files()?;
    lab.fault("no more files");
    lab.gateways[victim].limit_files(open + 3)?;
    lab.crowd.harm(killed);
    lab.gateways[killed].kill_nine()?;
    lab.run_for(5.0, 7.0).await;
    let cpu = lab.gateways[victim].cpu_time()?;
    sleep(Duration::from_secs(1)).await;
    let busy = lab.gateways[victim].cpu_time()?.saturating_sub(cpu);
    lab.note(format!("the starved gateway used {busy:?} of CPU in a second"));
    let reached = lab.gateways[victim].open_files()? >= open + 3;
    lab.must(reached, "the gateway has used its last file");
    lab.gateways[victim].limit_files(20_000)?;
    lab.gateways[killed].restart().await?;
    lab.mend("files again");
    let alive = lab.gateways[victim].is_running();
    lab.must(alive, "the starved gateway lives");
    lab.run_for(2.0, 3.0).await;
    Ok(())
}

/// Holds back the answers of Redis to the ingest, and kills the ingest meanwhile.
pub(in super::super) async fn kill_ingest(lab: &mut Lab) -> Result<()> {
    for _ in 0..3 {
        lab.fault("kill -9 ingest, its answers on the way");
        if let Some(wire) = &lab.ingest_wire {
            wire.hold(Way::Down, true);
        }
        lab.run_for(0.2, 0.4).await;
        lab.ingest.kill_nine()?;
        if let Some(wire) = &lab.ingest_wire {
            wire.cut();
            wire.hold(Way::Down, false);
        }
        lab.ingest.restart().await?;
        lab.mend("ingest is back");
        lab.run_for(0.3, 0.6).await;
    }
    let duplicates = lab.crowd.books().duplicate_receipts;
    lab.must(duplicates > 0, "an event was stored before its receipt was lost");
    lab.note(format!("{duplicates} receipts said duplicate"));
    Ok(())
}
