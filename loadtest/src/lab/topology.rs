//! Redis servers in their topologies, and the primary of each.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use super::setup::Setup;
use crate::machine::{Network, Place, Port, Redis};

/// The name by which Sentinels know the primary.
const NAME: &str = "tailwater";

/// The number of Sentinels, and the number that must agree.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// When a silent primary is taken for dead.
const DOWN_AFTER: &str = "2000";

/// All slots of a cluster, and the primaries that share them.
const SLOTS: u32 = 16384;
pub(super) const PRIMARIES: usize = 3;

const JOIN_DEADLINE: Duration = Duration::from_secs(20);
pub(super) const FAILOVER_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Servers that belong together.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) servers: Vec<Redis>,
    pub(super) sentinels: Vec<Redis>,
    /// The URL that names them to Tailwater.
    pub(super) url: String,
    /// The ports of a cluster's bus, on which servers come back.
    pub(super) buses: Vec<Port>,
}

/// The two sides of a network; without one both are here.
fn sides(network: Option<&Network>) -> (Place, Place) {
    network.map(|network| (network.near.clone(), network.far.clone())).unwrap_or_default()
}

/// One server, on the near side.
pub(super) async fn alone(
    setup: &Setup,
    directory: &Path,
    network: Option<&Network>,
) -> Result<Servers> {
    let (near, _far) = sides(network);
    let builder = setup.redis(directory, 1)?.append_fsync(setup.append_fsync).place(&near);
    let server = builder.start().await?;
    let url = format!("redis://{}", server.inner_addr());
    Ok(Servers { servers: vec![server], sentinels: Vec::new(), url, buses: Vec::new() })
}

/// A primary, its replicas, and Sentinels: in one place, or with the primary and one Sentinel near and
/// everything else far.
pub(super) async fn sentinel(
    setup: &Setup,
    directory: &Path,
    network: Option<&Network>,
) -> Result<Servers> {
    let (near, far) = sides(network);
    let builder = setup.redis(directory, 1)?.append_fsync(setup.append_fsync).place(&near);
    let builder = builder.arg("--replica-announce-ip").arg(near.inner.to_string());
    let primary = builder.start().await?;
    let at = primary.inner_addr();
    let mut servers = vec![primary];
    for number in 2..=1 + setup.replicas.max(1) {
        servers.push(replica_at(setup, directory, &servers[0], number, &far).await?);
    }
    let config = format!(
        "sentinel monitor {NAME} {} {} {QUORUM}\n\
         sentinel down-after-milliseconds {NAME} {DOWN_AFTER}\n\
         sentinel failover-timeout {NAME} 6000\n\
         sentinel parallel-syncs {NAME} 1\n",
        at.ip(),
        at.port()
    );
    let mut sentinels = Vec::new();
    for number in 1..=SENTINELS {
        let place = if number == 1 { &near } else { &far };
        let config = format!("sentinel announce-ip {}\n{config}", place.inner);
        let builder = Redis::builder().program(&setup.server.program).place(place).sentinel(config);
        let own = directory.join(format!("sentinel-{number}"));
        sentinels.push(builder.directory(own).start().await?);
    }
    wait_monitored(&sentinels, servers.len() - 1).await?;
    let hosts: Vec<String> = sentinels.iter().map(|s| s.inner_addr().to_string()).collect();
    let url = format!("redis+sentinel://{}/{NAME}", hosts.join(","));
    Ok(Servers { servers, sentinels, url, buses: Vec::new() })
}

/// A replica of this server, when it has all of its data.
pub(super) async fn replica(setup: &Setup, directory: &Path, primary: &Redis) -> Result<Redis> {
    replica_at(setup, directory, primary, 2, &Place::default()).await
}

async fn replica_at(
    setup: &Setup,
    directory: &Path,
    primary: &Redis,
    number: usize,
    place: &Place,
) -> Result<Redis> {
    let at = primary.inner_addr();
    let builder = setup.redis(directory, number)?.append_fsync(setup.append_fsync).place(place);
    let builder = builder.arg("--replica-announce-ip").arg(place.inner.to_string());
    let builder = builder.arg("--replicaof").arg(format!("{} {}", at.ip(), at.port()));
    let replica = builder.start().await?;
    wait_linked(&replica).await?;
    Ok(replica)
}

/// Waits until a replica has its primary's data.
async fn wait_linked(replica: &Redis) -> Result<()> {
    wait("the replica is linked", JOIN_DEADLINE, async || {
        Ok(replica.info("master_link_status").await? == "up")
    })
    .await
}

/// Waits until all Sentinels know the replicas and each other.
async fn wait_monitored(sentinels: &[Redis], replicas: usize) -> Result<()> {
    wait("the Sentinels know each other", JOIN_DEADLINE, async || {
        for sentinel in sentinels {
            let known = sentinel.query(&["SENTINEL", "MASTER", NAME]).await?;
            let value = |key: &str| {
                let index = known.iter().position(|text| text == key)?;
                known.get(index + 1)?.parse::<usize>().ok()
            };
            let others = value("num-other-sentinels").unwrap_or(0);
            if others + 1 < SENTINELS || value("num-slaves").unwrap_or(0) < replicas {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Waits until all Sentinels know a replica of this priority. They ask every ten seconds.
pub(super) async fn wait_preferred(sentinels: &[Redis], priority: &str) -> Result<()> {
    wait("the Sentinels know the priority", JOIN_DEADLINE, async || {
        for sentinel in sentinels {
            let known = sentinel.query(&["SENTINEL", "REPLICAS", NAME]).await?;
            let mut pairs = known.iter().zip(known.iter().skip(1));
            if !pairs.any(|(name, value)| name == "slave-priority" && value == priority) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// The primary, in a Sentinel's view.
///
/// # Errors
/// When it does not answer.
pub(super) async fn named_primary(sentinel: &Redis) -> Result<SocketAddr> {
    let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
    let answer = sentinel.query(&words).await?;
    ensure!(answer.len() == 2, "a Sentinel names no primary: {answer:?}");
    Ok(answer.join(":").parse()?)
}

/// Waits until the Sentinel names another primary than this one, which takes writes.
pub(super) async fn wait_promoted(
    sentinel: &Redis,
    servers: &[Redis],
    old: SocketAddr,
) -> Result<()> {
    wait("there is another primary", FAILOVER_DEADLINE, async || {
        let named = named_primary(sentinel).await?;
        if named == old {
            return Ok(false);
        }
        let new = servers.iter().find(|server| server.inner_addr() == named);
        Ok(new.context("an unknown primary")?.info("role").await? == "master")
    })
    .await
}

/// Starts a fail-over as an operator would.
pub(super) async fn fail_over(sentinel: &Redis) -> Result<()> {
    sentinel.query(&["SENTINEL", "FAILOVER", NAME]).await?;
    Ok(())
}

/// Three primaries that share the slots, with a replica each: `servers[n + 3]` follows
/// `servers[n]`; in one place, or with the first primary near and everything else far.
pub(super) async fn cluster(
    setup: &Setup,
    directory: &Path,
    network: Option<&Network>,
) -> Result<Servers> {
    let (near, far) = sides(network);
    let (mut servers, mut buses) = (Vec::new(), Vec::new());
    for number in 1..=2 * PRIMARIES {
        let bus = Port::reserve()?;
        let place = if number == 1 { &near } else { &far };
        let builder = setup.redis(directory, number)?.append_fsync(setup.append_fsync);
        let mut builder = builder.place(place);
        let (bus_number, ip) = (bus.number().to_string(), place.inner.to_string());
        let args = [
            ["--cluster-announce-ip", &ip],
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &bus_number],
            ["--cluster-node-timeout", DOWN_AFTER],
            ["--cluster-config-file", "nodes.conf"],
            ["--cluster-allow-replica-migration", "no"],
            ["--repl-diskless-sync-delay", "0"],
        ];
        for arg in args.concat() {
            builder = builder.arg(arg);
        }
        if setup.reads_replicas {
            builder = builder.arg("--cluster-allow-reads-when-down").arg("yes");
        }
        servers.push(builder.start().await?);
        buses.push(bus);
    }
    let share = SLOTS.div_ceil(PRIMARIES as u32);
    for (number, server) in (0..).zip(&servers[..PRIMARIES]) {
        let (first, last) = (share * number, (share * (number + 1)).min(SLOTS) - 1);
        let range = [first.to_string(), last.to_string()];
        server.query(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await?;
    }
    for (server, bus) in servers.iter().zip(&buses).skip(1) {
        let (addr, bus) = (server.inner_addr(), bus.number().to_string());
        let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
        servers[0].query(&["CLUSTER", "MEET", &ip, &port, &bus]).await?;
    }
    for number in 0..PRIMARIES {
        let id = servers[number].query(&["CLUSTER", "MYID"]).await?.concat();
        let replica = &servers[number + PRIMARIES];
        wait("the nodes know each other", JOIN_DEADLINE, async || {
            Ok(replica.query(&["CLUSTER", "REPLICATE", &id]).await.is_ok())
        })
        .await?;
    }
    for server in &servers {
        wait(
            "the cluster is well",
            JOIN_DEADLINE,
            async || Ok(is_well(server).await? == PRIMARIES),
        )
        .await?;
    }
    for replica in &servers[PRIMARIES..] {
        wait_linked(replica).await?;
    }
    let hosts: Vec<String> = servers.iter().map(|server| server.inner_addr().to_string()).collect();
    // Half of them: the others are to be found.
    let url = format!("redis+cluster://{}", hosts[..PRIMARIES].join(","));
    Ok(Servers { servers, sentinels: Vec::new(), url, buses })
}

/// The number of primaries that serve slots, in this node's view; 0 while its cluster is down.
pub(super) async fn is_well(server: &Redis) -> Result<usize> {
    let info = server.query(&["CLUSTER", "INFO"]).await?.concat();
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("cluster_state:") != Some("ok") {
        return Ok(0);
    }
    Ok(field("cluster_size:").and_then(|size| size.parse().ok()).unwrap_or(0))
}

/// Polls until the condition holds.
pub(crate) async fn wait(
    what: &str,
    deadline: Duration,
    is_so: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    let until = Instant::now() + deadline;
    loop {
        let answer = is_so().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > until {
            let why = answer.err().map_or_else(String::new, |error| format!(": {error:#}"));
            bail!("waited {deadline:?} in vain until {what}{why}");
        }
        sleep(POLL).await;
    }
}
