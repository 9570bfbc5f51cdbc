//! Acts of an operator or of another program on the data in Redis.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{Lab, wait};

/// The keys that match a pattern.
async fn keys(lab: &mut Lab, pattern: &str) -> Result<Vec<String>> {
    let mut keys = lab.server().query(&["KEYS", pattern]).await?;
    keys.retain(|key| !key.is_empty());
    keys.sort();
    Ok(keys)
}

async fn delete(lab: &mut Lab, keys: &[String]) -> Result<()> {
    let words: Vec<&str> = ["DEL"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let deleted = lab.server().query(&words).await?.concat();
    lab.must(deleted != "0", "keys were deleted");
    lab.note(format!("{deleted} keys deleted"));
    Ok(())
}

/// Deletes everything.
pub(in super::super) async fn flush_all(lab: &mut Lab) -> Result<()> {
    lab.fault("FLUSHALL");
    lab.server().query(&["FLUSHALL"]).await?;
    Ok(())
}

/// Events that travellers lack before streams are deleted: more than gateways keep themselves, 128
/// of a topic.
const LACKING: u64 = 3_000;
/// Until they are published, on a machine that is slow.
const LACKING_DEADLINE: Duration = Duration::from_secs(120);

/// Deletes every other topic's stream, when the travellers lack more than gateways keep themselves.
pub(in super::super) async fn delete_streams(lab: &mut Lab) -> Result<()> {
    let crowd = lab.crowd.handle();
    let published = || crowd.tally().published.load(Relaxed);
    let enough = published() + LACKING;
    wait("events were published", LACKING_DEADLINE, async || Ok(published() >= enough)).await?;
    let streams: Vec<String> = keys(lab, "e:*:t-*").await?.into_iter().step_by(2).collect();
    lab.fault("DEL of streams");
    delete(lab, &streams).await
}

/// Deletes all topics' heads.
pub(in super::super) async fn delete_heads(lab: &mut Lab) -> Result<()> {
    let heads = keys(lab, "h:*:t-*").await?;
    lab.fault("DEL of heads");
    delete(lab, &heads).await
}

/// Leaves Redis some memory, and then none.
pub(in super::super) async fn fill_memory(lab: &mut Lab) -> Result<()> {
    let used: u64 = lab.server().info("used_memory").await?.parse()?;
    lab.fault("maxmemory");
    let limit = (used + 200_000).to_string();
    lab.server().query(&["CONFIG", "SET", "maxmemory", &limit]).await?;
    lab.run_for(2.5, 3.5).await;
    lab.server().query(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    lab.mend("memory again");
    lab.run_for(1.0, 1.5).await;
    let retried = lab.crowd.books().retried;
    lab.must(retried > 0, "events were refused for a while");
    Ok(())
}

/// Makes Redis forget the script.
pub(in super::super) async fn flush_scripts(lab: &mut Lab) -> Result<()> {
    for _ in 0..3 {
        lab.fault("SCRIPT FLUSH");
        lab.server().query(&["SCRIPT", "FLUSH"]).await?;
        lab.run_for(0.3, 0.6).await;
    }
    let noticed = lab.ingest.log().contains("redis has lost the script");
    lab.must(noticed, "the ingest met the missing script");
    Ok(())
}

/// Steps the clock of Redis back by an hour, and forward again.
pub(in super::super) async fn step_clock_back(lab: &mut Lab) -> Result<()> {
    let file = lab.server().directory().join(crate::lab::CLOCK_FILE);
    let before = seconds(lab).await?;
    lab.fault("clock back by 1 h");
    std::fs::write(&file, "-3600\n")?;
    lab.run_for(3.0, 4.0).await;
    let stepped = seconds(lab).await?;
    lab.must(stepped < before, "the clock of Redis stepped back");
    std::fs::write(&file, "+0\n")?;
    lab.mend("clock right again");
    Ok(())
}

async fn seconds(lab: &mut Lab) -> Result<u64> {
    let time = lab.server().query(&["TIME"]).await?;
    time.first().context("an empty answer to TIME")?.parse().context("no seconds")
}
