//! `tailwater topics`: the topics and spaces that Redis stores, for an operator with a login of their own.

use std::cmp::Reverse;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ::access::Pattern;
use anyhow::{Context as _, Result, bail};
use event_log::{LogName, Position, Topic};
use redis_log::{RedisLog, StoredTopic};
use serde_json::json;

use crate::args::{DeleteArgs, EraseArgs, ListArgs, StoreArgs, TopicsArgs, TopicsCommand};
use crate::client;
use crate::config;

/// Runs the command.
pub(crate) fn run(args: TopicsArgs) -> Result<()> {
    match args.command {
        TopicsCommand::List(args) => client::run(list(args)),
        TopicsCommand::Delete(args) => client::run(delete(args)),
        TopicsCommand::Erase(args) => client::run(erase(args)),
    }
}

/// Opens the log with the spaces that it has.
pub(crate) async fn open(args: &StoreArgs) -> Result<Arc<RedisLog>> {
    let mut warnings = Vec::new();
    let (config, _) = config::redis_config(&args.redis, &args.beside, &mut warnings)?;
    warnings.iter().for_each(|warning| eprintln!("tailwater: {warning}"));
    Ok(RedisLog::adopt(config).await?)
}

/// The sums over all topics that were found, and the largest of them.
#[derive(Default)]
struct Totals {
    topics: u64,
    events: u64,
    bytes: u64,
    largest: Vec<StoredTopic>,
}

async fn list(args: ListArgs) -> Result<()> {
    let pattern = Pattern::new(&args.pattern).with_context(|| args.pattern.clone())?;
    let log = open(&args.store).await?;
    let mut totals = Totals::default();
    let wanted = |log: &LogName| pattern.matches(log.as_str(), None);
    log.inventory(wanted, |topic| totals.add(topic, args.limit)).await?;
    totals.cut(args.limit);
    let mut out = std::io::stdout().lock();
    if args.json {
        for row in &totals.largest {
            writeln!(out, "{}", json(row))?;
        }
        return Ok(());
    }
    writeln!(out, "{:>10}  {:>12}  {:>10}  {:>7}  topic", "events", "bytes", "quiet", "watched")?;
    for row in &totals.largest {
        let state = if row.ended { " (ended)" } else { "" };
        let quiet = shown(row.quiet);
        writeln!(
            out,
            "{:>10}  {:>12}  {quiet:>10}  {:>7}  {}{state}",
            row.events, row.bytes, row.watched, row.log
        )?;
    }
    writeln!(
        out,
        "{:>10}  {:>12}  {:>10}  {:>7}  in {} topics",
        totals.events, totals.bytes, "", "", totals.topics
    )?;
    Ok(())
}

impl Totals {
    fn add(&mut self, topic: StoredTopic, limit: usize) {
        self.topics += 1;
        self.events += topic.events;
        self.bytes += topic.bytes;
        self.largest.push(topic);
        if self.largest.len() > 2 * limit {
            self.cut(limit);
        }
    }

    /// Sorts the largest topics and drops those beyond the limit.
    fn cut(&mut self, limit: usize) {
        let order = |topic: &StoredTopic| (Reverse(topic.bytes), topic.log.clone());
        self.largest.sort_by_cached_key(order);
        self.largest.truncate(limit);
    }
}

fn json(row: &StoredTopic) -> serde_json::Value {
    json!({
        "topic": row.log.as_str(),
        "events": row.events,
        "bytes": row.bytes,
        "oldest": row.oldest.to_string(),
        "head": row.head.to_string(),
        "quiet_ms": u64::try_from(row.quiet.as_millis()).unwrap_or(u64::MAX),
        "ended": row.ended,
        "watched": row.watched,
    })
}

/// A time in two units at most.
fn shown(time: Duration) -> String {
    let coarse = match time.as_secs() {
        seconds @ 0..3600 => seconds,
        seconds @ 3600..86_400 => seconds / 60 * 60,
        seconds => seconds / 3600 * 3600,
    };
    humantime::format_duration(Duration::from_secs(coarse)).to_string()
}

async fn delete(args: DeleteArgs) -> Result<()> {
    let names = args.topics.iter().map(|name| Topic::new(name).map_err(Into::into));
    let topics: Vec<Topic> = names.collect::<Result<_>>()?;
    let log = open(&args.store).await?;
    let mut lacking = Vec::new();
    for topic in &topics {
        match log.delete(topic).await? {
            true => println!("deleted {topic}"),
            false => lacking.push(topic.as_str()),
        }
    }
    match lacking.is_empty() {
        true => Ok(()),
        false => bail!("no such topic: {}", lacking.join(", ")),
    }
}

async fn erase(args: EraseArgs) -> Result<()> {
    let topic = Topic::new(&args.topic)?;
    let id: Position = args
        .id
        .parse()
        .map_err(|_| anyhow::anyhow!("{:?} is no id of an event: MILLISECONDS-NUMBER", args.id))?;
    let log = open(&args.store).await?;
    if !log.erase(&topic, id).await? {
        bail!("{topic} holds no event {id}; nodes that held it have forgotten it");
    }
    println!("erased {id} of {topic}");
    Ok(())
}
