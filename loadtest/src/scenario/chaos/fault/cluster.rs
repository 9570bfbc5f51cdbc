//! Slots that change their primary.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use crate::lab::{Lab, wait};

const DEADLINE: Duration = Duration::from_secs(30);

/// The replica of the first primary.
const REPLICA: usize = 3;

/// Slots that are moved.
const MOVED: usize = 4;

async fn replica_is_primary(lab: &Lab) -> Result<()> {
    let replica = &lab.servers[REPLICA];
    wait("the replica is the primary", DEADLINE, async || {
        Ok(replica.info("role").await? == "master")
    })
    .await
}

async fn old_is_replica(lab: &Lab) -> Result<()> {
    let old = &lab.servers[0];
    wait("the old primary is a replica", DEADLINE, async || {
        Ok(old.info("role").await? == "slave" && old.info("master_link_status").await? == "up")
    })
    .await
}

/// Kills one of the primaries, and brings it back when its replica has taken over.
pub(in super::super) async fn kill(lab: &mut Lab) -> Result<()> {
    lab.fault("kill -9 of a primary");
    lab.servers[0].kill_nine()?;
    replica_is_primary(lab).await?;
    lab.mend("promotion");
    lab.run_for(1.0, 2.0).await;
    lab.servers[0].restart().await?;
    old_is_replica(lab).await?;
    lab.mend("the old one is a replica");
    let took = lab.wait_cluster_well().await?;
    lab.note(format!("the cluster was well again after another {took:.1?}"));
    Ok(())
}

/// Freezes one of the primaries past the fail-over.
pub(in super::super) async fn freeze(lab: &mut Lab) -> Result<()> {
    lab.fault("freeze a primary");
    lab.servers[0].freeze()?;
    replica_is_primary(lab).await?;
    lab.mend("promotion");
    lab.run_for(1.0, 2.0).await;
    lab.servers[0].thaw()?;
    lab.mend("thaw it");
    old_is_replica(lab).await?;
    lab.mend("it is a replica");
    lab.wait_cluster_well().await?;
    Ok(())
}

/// Separates one of the primaries and the ingest from all other nodes.
pub(in super::super) async fn part(lab: &mut Lab) -> Result<()> {
    lab.network.as_ref().context("no network to part")?.part(true)?;
    lab.fault("the network parts");
    replica_is_primary(lab).await?;
    lab.mend("promotion");
    lab.run_for(2.0, 3.0).await;
    lab.network.as_ref().context("no network to part")?.part(false)?;
    lab.mend("the network is whole");
    old_is_replica(lab).await?;
    lab.mend("the old primary is a replica");
    lab.wait_cluster_well().await?;
    lab.run_for(1.0, 2.0).await;
    Ok(())
}

/// A fail-over as an operator does it.
pub(in super::super) async fn fail_over(lab: &mut Lab) -> Result<()> {
    lab.fault("CLUSTER FAILOVER");
    lab.servers[REPLICA].query(&["CLUSTER", "FAILOVER"]).await?;
    replica_is_primary(lab).await?;
    lab.mend("promotion");
    old_is_replica(lab).await?;
    Ok(())
}

/// Slots of the first primary with topics in them, and the keys of each.
async fn slots(lab: &Lab) -> Result<Vec<u32>> {
    let from = &lab.servers[0];
    let mut slots: BTreeMap<u32, usize> = BTreeMap::new();
    for key in from.query(&["KEYS", "h:*:t-*"]).await? {
        let slot = from.query(&["CLUSTER", "KEYSLOT", &key]).await?.concat().parse()?;
        *slots.entry(slot).or_default() += 1;
    }
    ensure!(!slots.is_empty(), "the first primary has no topics");
    Ok(slots.into_keys().take(MOVED).collect())
}

/// Moves slots key by key, as `redis-cli --cluster reshard` does.
pub(in super::super) async fn migrate(lab: &mut Lab) -> Result<()> {
    let (from, to) = (&lab.servers[0], &lab.servers[1]);
    let from_id = from.query(&["CLUSTER", "MYID"]).await?.concat();
    let to_id = to.query(&["CLUSTER", "MYID"]).await?.concat();
    let slots = slots(lab).await?;
    for slot in &slots {
        lab.fault("a slot is moved");
        let slot = slot.to_string();
        to.query(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await?;
        from.query(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await?;
        sleep(Duration::from_millis(200)).await;
        move_keys(lab, &slot).await?;
        sleep(Duration::from_millis(200)).await;
        for server in [to, from, &lab.servers[2]] {
            server.query(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await?;
        }
        sleep(Duration::from_millis(300)).await;
    }
    lab.mend("all are moved");
    let text = format!("{} slots moved", slots.len());
    lab.note(text);
    Ok(())
}

async fn move_keys(lab: &Lab, slot: &str) -> Result<()> {
    let (from, to) = (&lab.servers[0], &lab.servers[1]);
    let (host, port) = (to.addr().ip().to_string(), to.addr().port().to_string());
    loop {
        let mut keys = from.query(&["CLUSTER", "GETKEYSINSLOT", slot, "50"]).await?;
        keys.retain(|key| !key.is_empty());
        if keys.is_empty() {
            return Ok(());
        }
        let mut words = vec!["MIGRATE", &host, &port, "", "0", "1000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        from.query(&words).await?;
    }
}

/// Moves slots as a whole, as Valkey 9 can.
pub(in super::super) async fn migrate_at_once(lab: &mut Lab) -> Result<()> {
    let slots = slots(lab).await?;
    let from = &lab.servers[0];
    let to = lab.servers[1].query(&["CLUSTER", "MYID"]).await?.concat();
    for slot in &slots {
        lab.fault("a slot is moved");
        let text = slot.to_string();
        from.query(&["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &text, &text, "NODE", &to]).await?;
        wait("the slot is moved", DEADLINE, async || {
            let nodes = from.query(&["CLUSTER", "NODES"]).await?.concat();
            let own = nodes
                .lines()
                .find(|line| line.contains("myself"))
                .context("CLUSTER NODES without the node itself")?;
            Ok(!holds(own, *slot))
        })
        .await?;
        sleep(Duration::from_millis(300)).await;
    }
    lab.mend("all are moved");
    let text = format!("{} slots moved", slots.len());
    lab.note(text);
    Ok(())
}

/// Returns true if a line of CLUSTER NODES names the slot.
fn holds(line: &str, slot: u32) -> bool {
    line.split_whitespace().skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
    })
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_slot_is_found_in_the_ranges_of_a_node() {
        let line = "id 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-9 11 [13->-x]";
        assert!(holds(line, 9) && holds(line, 11));
        assert!(!holds(line, 10) && !holds(line, 13));
    }
}
