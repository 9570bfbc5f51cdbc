//! Proxies that lose, hold or delay the bytes that pass.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use crate::lab::{BY_HAND, Lab};
use crate::machine::{Proxy, Way};

/// The time in which a gateway's audit must find a loss: twice its interval.
const AUDIT_MAX: Duration = Duration::from_secs(10);

fn wires(lab: &Lab) -> impl Iterator<Item = &Proxy> {
    lab.gateway_wires.iter().chain(&lab.ingest_wire)
}

/// Fills the output buffer of one gateway's feed until Redis closes it.
pub(in super::super) async fn overflow(lab: &mut Lab) -> Result<()> {
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 0 0"];
    lab.server().query(&limit).await?;
    let victim = lab.choose(lab.gateways.len());
    lab.fault("a feed is not read");
    lab.gateway_wires[victim].hold(Way::Down, true);
    // More than the kernel's buffers hold, before the gateway misses its pings.
    lab.publish_by_hand(600, 15_000).await?;
    lab.gateway_wires[victim].hold(Way::Down, false);
    lab.mend("read again");
    let log = std::fs::read_to_string(lab.server().directory().join("redis.log"))?;
    lab.must(log.contains("output buffer limits"), "Redis cut the feed off");
    Ok(())
}

/// Loses messages of a topic here and there.
pub(in super::super) async fn lose_notifications(lab: &mut Lab) -> Result<()> {
    for _ in 0..5 {
        let victim = lab.choose(lab.gateways.len());
        lab.fault("messages are lost");
        lab.gateway_wires[victim].lose_messages(Some("}:t-"));
        lab.run_for(0.05, 0.4).await;
        lab.gateway_wires[victim].lose_messages(None);
        lab.run_for(0.1, 0.5).await;
    }
    let lost: u64 = lab.gateway_wires.iter().map(Proxy::lost_messages).sum();
    lab.must(lost > 0, "messages were lost");
    lab.note(format!("{lost} messages were lost"));
    Ok(())
}

/// Loses the last messages of a topic that then stays quiet.
pub(in super::super) async fn lose_last_notification(lab: &mut Lab) -> Result<()> {
    lab.publish_by_hand(3, 300).await?;
    lab.fault("the last messages are lost");
    lab.gateway_wires.iter().for_each(|wire| wire.lose_messages(Some("}:by-hand")));
    lab.publish_by_hand(2, 300).await?;
    let begin = Instant::now();
    lab.run_for(0.2, 0.5).await;
    lab.gateway_wires.iter().for_each(|wire| wire.lose_messages(None));
    lab.mend("messages arrive again");
    lab.crowd.travel(false);
    while lab.crowd.books().history.unfinished_in(BY_HAND) > 0 && begin.elapsed() < AUDIT_MAX {
        sleep(Duration::from_millis(20)).await;
    }
    let lost: u64 = lab.gateway_wires.iter().map(Proxy::lost_messages).sum();
    lab.must(lost > 0, "messages were lost");
    lab.note(format!(
        "{lost} messages lost; every subscriber had them after {:.1?}",
        begin.elapsed()
    ));
    Ok(())
}

/// Has Redis close the feeds of all gateways, again and again.
pub(in super::super) async fn kill_feeds(lab: &mut Lab) -> Result<()> {
    let mut killed = 0;
    for _ in 0..5 {
        lab.fault("CLIENT KILL of the feeds");
        let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
        killed += lab.server().query(&kill).await?.concat().parse::<u64>().unwrap_or(0);
        lab.run_for(0.3, 1.2).await;
    }
    lab.must(killed > 0, "feeds were killed");
    lab.note(format!("{killed} feeds were killed"));
    Ok(())
}

/// Strands all connections to Redis for good. New ones work.
pub(in super::super) async fn half_open(lab: &mut Lab, ways: &[Way]) -> Result<()> {
    lab.fault("connections are stranded");
    for wire in wires(lab) {
        ways.iter().for_each(|way| wire.strand(*way));
    }
    lab.run_for(10.0, 12.0).await;
    Ok(())
}

/// Takes the link to Redis away: packets are lost and nothing is closed.
pub(in super::super) async fn link_down(lab: &mut Lab) -> Result<()> {
    lab.network.as_ref().context("no network to part")?.part(true)?;
    lab.fault("link down");
    sleep(Duration::from_secs(10)).await;
    lab.network.as_ref().context("no network to part")?.part(false)?;
    lab.mend("link up");
    lab.run_for(3.0, 4.0).await;
    Ok(())
}

/// Lets Redis answer after 2 s.
pub(in super::super) async fn slow(lab: &mut Lab) -> Result<()> {
    lab.fault("answers take 2 s");
    wires(lab).for_each(|wire| wire.delay(Way::Down, Duration::from_secs(2)));
    lab.run_for(6.0, 8.0).await;
    wires(lab).for_each(|wire| wire.delay(Way::Down, Duration::ZERO));
    lab.mend("fast again");
    lab.run_for(2.0, 3.0).await;
    Ok(())
}
