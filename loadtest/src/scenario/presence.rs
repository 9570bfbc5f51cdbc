//! The members of topics, on three gateways of which one is killed.

mod figures;
mod member;
mod watcher;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use self::figures::{Cost, PresenceFigures};
use self::member::RoomMember;
use self::watcher::Watcher;
use super::Common;
use crate::client::http;
use crate::machine::cluster::find_tailwater;
use crate::machine::{Redis, Tailwater};
use crate::report::Sheet;
use crate::report::progress::Progress;

const NAME: &str = "presence";

/// The time after the kill at which the lists have to be right.
const RIGHT_AFTER: Duration = Duration::from_secs(10);
/// The time over which the cost of members that stay is measured.
const IDLE: Duration = Duration::from_secs(10);
/// Streams that are opened at a time.
const OPENING_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts the subscribers of topics on several gateways, one of which is killed with -9.
///
/// A watcher of each topic is connected to a gateway that lives on. Then the members connect to all gateways. One
/// gateway is killed; half of its clients come back to the others, as browsers do, and half stay away. Ten seconds
/// after the kill the list of every topic is compared on every gateway. The report also tells what members cost
/// Redis.
///
/// Exits with 0 only if each list is exact, each watcher has heard of each join and each leave once, and nobody
/// who came back was said to have left.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The options of every scenario.
    #[command(flatten)]
    pub common: Common,

    /// Members, spread evenly over the topics and the gateways.
    #[arg(long, default_value_t = 4000)]
    clients: usize,

    /// Topics.
    #[arg(long, default_value_t = 200)]
    topics: usize,

    /// Gateways; the first is killed and stays away.
    #[arg(long, default_value_t = 3)]
    gateways: usize,
}

/// The name of a topic.
fn topic(index: usize) -> String {
    format!("room/{index}")
}

/// Everything that takes part.
struct Gateways {
    redis: Redis,
    gateways: Vec<Tailwater>,
    addresses: Arc<[SocketAddr]>,
}

/// Runs it, writes the report and returns it.
///
/// # Errors
/// When something does not start, or the members do not get their first streams.
pub async fn run(options: &Options) -> Result<Sheet> {
    ensure!(options.gateways > 1, "one gateway is killed: it takes two at least");
    ensure!(options.topics > 0 && options.clients > 0, "it takes a topic and a client");
    let progress = Progress::new();
    let directory = std::path::absolute(options.common.directory(NAME))?;
    progress.say("starting");
    let mut stage = Gateways::start(options).await?;
    let watchers = stage.watch(options).await?;
    let watched = options.topics as u64;
    stage.until_counted(watched).await?;

    progress.say(&format!("opening {} streams", options.clients));
    let before = stage.cost().await?;
    let begun = Instant::now();
    let members = stage.open(options).await?;
    let opened = begun.elapsed();
    stage.until_counted(watched + options.clients as u64).await?;
    let joining = stage.cost().await?.since(before);
    // A watcher hears of a join a second after the list has it.
    sleep(Duration::from_secs(3)).await;
    let before = stage.cost().await?;
    sleep(IDLE).await;
    let idle = stage.cost().await?.since(before);
    let everybody = expected(options, |_| true);
    let joined: Vec<_> = watchers.iter().map(Watcher::take).collect();

    progress.say("kill -9 of a gateway; half of its clients come back");
    let killed = Instant::now();
    stage.gateways[0].kill_nine()?;
    sleep_until(killed + RIGHT_AFTER).await;
    let mut lists = Vec::new();
    for address in &stage.addresses[1..] {
        lists.push(stage.lists(*address, options.topics).await?);
    }
    let asked = killed.elapsed();
    sleep(Duration::from_secs(3)).await;
    let left: Vec<_> = watchers.iter().map(Watcher::take).collect();
    let back = members.iter().filter(|member| member.has_come_back()).count();

    let gone = |number: usize| {
        number.is_multiple_of(options.gateways) && RoomMember::stays_away(number, options.gateways)
    };
    let figures = PresenceFigures {
        options,
        opened,
        joining,
        idle,
        everybody,
        joined,
        gone: expected(options, gone),
        left,
        present: expected(options, |number| !gone(number)),
        lists,
        asked,
        back,
    };
    let sheet = figures.sheet();
    sheet.write(&directory)?;
    progress.report(&sheet.table(), &directory);
    Ok(sheet)
}

/// The names of the members that are meant, by topic.
fn expected(options: &Options, is_meant: impl Fn(usize) -> bool) -> Vec<BTreeSet<String>> {
    let mut all = vec![BTreeSet::new(); options.topics];
    for number in (0..options.clients).filter(|number| is_meant(*number)) {
        all[number / options.gateways % options.topics].insert(member::name(number));
    }
    all
}

impl Gateways {
    async fn start(options: &Options) -> Result<Self> {
        let program = find_tailwater(options.common.tailwater.as_deref())?;
        let redis = Redis::start().await?;
        let mut gateways = Vec::new();
        for number in 1..=options.gateways {
            let gateway = Tailwater::gateway(&program).node(format!("gw-{number}")).redis(&redis);
            // All clients come from one address.
            let gateway = gateway.flag("--presence", "room/*").flag("--address-share", "1");
            gateways.push(gateway.start().await?);
        }
        let addresses = gateways.iter().map(Tailwater::addr).collect();
        Ok(Self { redis, gateways, addresses })
    }

    async fn watch(&self, options: &Options) -> Result<Vec<Watcher>> {
        let mut watchers = Vec::new();
        for index in 0..options.topics {
            let address = self.addresses[1 + index % (options.gateways - 1)];
            watchers.push(Watcher::open(address, &topic(index)).await?);
        }
        Ok(watchers)
    }

    async fn open(&self, options: &Options) -> Result<Vec<RoomMember>> {
        let mut opening = JoinSet::new();
        let mut members = Vec::with_capacity(options.clients);
        for number in 0..options.clients {
            if opening.len() >= OPENING_MAX {
                members.push(opening.join_next().await.context("a stream is opening")???);
            }
            let room = topic(number / options.gateways % options.topics);
            opening.spawn(RoomMember::open(Arc::clone(&self.addresses), number, room));
        }
        while let Some(member) = opening.join_next().await {
            members.push(member??);
        }
        Ok(members)
    }

    /// Waits until so many members are counted by a gateway that lives on.
    async fn until_counted(&self, count: u64) -> Result<()> {
        let mut client = http::Client::new(self.addresses[1]);
        let until = Instant::now() + PATIENCE;
        loop {
            let answer: Value = client.get("/v1/subscribers?topic=room/*").await?.json()?;
            if answer["count"] == count {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{} members are counted, not {count}", answer["count"]);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The names of the members of all topics as one gateway lists them, and the count.
    async fn lists(
        &self,
        address: SocketAddr,
        topics: usize,
    ) -> Result<Vec<(u64, BTreeSet<String>)>> {
        let mut client = http::Client::new(address);
        let mut lists = Vec::new();
        for index in 0..topics {
            let path = format!("/v1/topics/{}/subscribers", topic(index));
            let answer: Value = client.get(&path).await?.json()?;
            let members = answer["members"].as_array().context("no list of members")?;
            let names = members.iter().filter_map(|member| member["client"].as_str());
            let count = answer["count"].as_u64().context("no count of members")?;
            lists.push((count, names.map(str::to_owned).collect()));
        }
        Ok(lists)
    }

    /// The cost of presence to Redis so far.
    async fn cost(&self) -> Result<Cost> {
        let stats = self.redis.query(&["INFO", "commandstats"]).await?.concat();
        let scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = scripts.and_then(|fields| fields.split(',').next());
        let calls = calls.map_or(Ok(0.0), str::parse)?;
        let mut cpu = 0.0;
        for name in ["used_cpu_user", "used_cpu_sys"] {
            cpu += self.redis.info(name).await?.parse::<f64>()?;
        }
        Ok(Cost { at: Instant::now(), calls, cpu })
    }
}
