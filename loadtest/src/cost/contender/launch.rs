//! Starts each contender.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use super::{Contender, Programs, Stack, nginx, peer};
use crate::client::http;
use crate::cost::driver::{Dialect, DriverEndpoint};
use crate::cost::mint::Mint;
use crate::cost::topic::SPACE;
use crate::machine::{CoreSet, Pinned, Port};

const READY_DEADLINE: Duration = Duration::from_secs(20);
/// The prefix of the names of gateways.
pub(super) const GATEWAY: &str = "gateway";
/// The prefix of the names of ingests.
pub(super) const INGEST: &str = "ingest";
/// The name of the reference program for TLS.
const TLS_REFERENCE: &str = "tls-reference";
/// The origin that `--cors-origin` allows and that readers send.
const ORIGIN: &str = "https://app.example";
/// The flag for a space of topics.
const SPACE_FLAG: &str = "--space";
const POLL: Duration = Duration::from_millis(20);
/// As many as Docker and many systems let a process open, less its own files.
const SUBSCRIBERS: [&str; 4] = ["--max-connections", "19700", "--drain-window", "0s"];

impl Contender {
    /// Starts it and waits until it can be used.
    ///
    /// # Errors
    /// When a process does not start; the message shows its log.
    pub async fn start(self, programs: &Programs) -> Result<Stack> {
        let site =
            Site { cores: programs.cores.clone(), directory: programs.directory.join(self.name()) };
        let build = || match self.is_before() {
            true => programs.before.as_deref().context("--before is not given"),
            false => Ok(programs.tailwater.as_path()),
        };
        match self {
            Self::Floor | Self::Naive | Self::Websocket => {
                let arguments = |at: SocketAddr| {
                    let words = ["reference", self.name(), "--listen", &at.to_string()];
                    Ok(words.map(str::to_owned).into())
                };
                let program = std::env::current_exe()?;
                let server = site.run(self.name(), &program, arguments).await?;
                let dialect = match self {
                    Self::Websocket => Dialect::WebSocket,
                    _ => Dialect::Tailwater,
                };
                Ok(Stack::one(server, dialect))
            }
            Self::Tailwater
            | Self::Before
            | Self::TailwaterTwoCores
            | Self::BeforeTwoCores
            | Self::TailwaterCors
            | Self::BeforeCors
            | Self::TailwaterEs256
            | Self::TailwaterEddsa
            | Self::TailwaterHs256
            | Self::TailwaterSpace => {
                let own: &[&str] = match self {
                    Self::TailwaterSpace => &[SPACE_FLAG, SPACE],
                    _ if self.has_cors() => &["--cors-origin", ORIGIN],
                    _ => &[],
                };
                let mint = self.signature().map(Mint::of).transpose()?;
                let keys = mint.map_or(Ok(Vec::new()), |mint| mint.flags(&site.directory))?;
                let keys: Vec<_> = keys.iter().map(String::as_str).collect();
                let flags = [&SUBSCRIBERS[..], own, &keys].concat();
                let server = site.tailwater(build()?, "serve", "serve", &flags).await?;
                let mut stack = Stack::one(server, Dialect::Tailwater);
                stack.endpoint.origin = self.has_cors().then_some(ORIGIN);
                stack.endpoint.mint = mint;
                stack.endpoint.publisher = mint.map(|mint| mint.token(0));
                Ok(stack)
            }
            Self::TailwaterRedis | Self::BeforeRedis => site.cluster(build()?, 1).await,
            Self::Nchan => Ok(Stack::one(site.nginx(None).await?, Dialect::Nchan)),
            Self::NchanRedis => {
                let redis = site.redis().await?;
                let nginx = site.nginx(Some(redis.addr())).await?;
                wait_for("nchan", async || nginx::takes_events(nginx.addr()).await).await?;
                Ok(Stack { redis: Some(redis), ..Stack::one(nginx, Dialect::Nchan) })
            }
            Self::Mercure | Self::MercureBolt | Self::Centrifugo | Self::CentrifugoRedis => {
                peer::start(self, &site).await
            }
        }
    }

    /// The reason why it cannot run here: it is not installed, or the build does not know its flag.
    ///
    /// # Errors
    /// When the program under test does not run.
    pub fn obstacle(self, programs: &Programs) -> Result<Option<String>> {
        if self == Self::TailwaterSpace && !programs.knows(SPACE_FLAG)? {
            let program = programs.tailwater.display();
            return Ok(Some(format!("{program} has no {SPACE_FLAG}")));
        }
        peer::obstacle(self)
    }
}

impl Programs {
    /// Starts several gateways with one ingest and one Redis.
    ///
    /// # Errors
    /// When a process does not start; the message shows its log.
    pub async fn start_gateways(&self, gateways: usize) -> Result<Stack> {
        let site = Site { cores: self.cores.clone(), directory: self.directory.join("cluster") };
        site.cluster(&self.tailwater, gateways).await
    }

    /// Starts several ingests with one Redis, and no gateway.
    ///
    /// # Errors
    /// When a process does not start; the message shows its log.
    pub async fn start_ingests(&self, ingests: usize) -> Result<Stack> {
        let site = Site { cores: self.cores.clone(), directory: self.directory.join("intake") };
        let redis = site.redis().await?;
        let url = format!("redis://{}", redis.addr());
        let mut processes = Vec::new();
        for number in 1..=ingests {
            let node = format!("{INGEST}-{number}");
            let flags = ["--redis", &url];
            processes.push(site.tailwater(&self.tailwater, INGEST, &node, &flags).await?);
        }
        let first = processes.first().context("there is no ingest")?.addr();
        let endpoint = DriverEndpoint::at(first, Dialect::Tailwater);
        Ok(Stack { endpoint, processes, redis: Some(redis) })
    }

    /// Returns true if `tailwater serve` has a flag.
    ///
    /// # Errors
    /// When the program does not run.
    pub fn knows(&self, flag: &str) -> Result<bool> {
        let help = std::process::Command::new(&self.tailwater).args(["serve", "--help"]).output();
        let help = help.with_context(|| format!("cannot run {}", self.tailwater.display()))?;
        Ok(String::from_utf8_lossy(&help.stdout).contains(flag))
    }

    /// Starts the reference program for TLS with a certificate and its key.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start_tls_reference(&self, certificate: &Path, key: &Path) -> Result<Stack> {
        let site = Site { cores: self.cores.clone(), directory: self.directory.join("reference") };
        // Built with this program, into the same directory.
        let program = std::env::current_exe()?.with_file_name(TLS_REFERENCE);
        let files = [certificate, key].map(|file| file.display().to_string());
        let arguments = |at: SocketAddr| Ok([vec![at.to_string()], files.to_vec()].concat());
        let server = site.run(TLS_REFERENCE, &program, arguments).await?;
        Ok(Stack::one(server, Dialect::Tailwater))
    }

    /// Starts `tailwater serve` with the embedded log and these flags.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start_serve(&self, node: &str, flags: &[String]) -> Result<Stack> {
        let site = Site { cores: self.cores.clone(), directory: self.directory.join("serve") };
        let flags: Vec<&str> =
            SUBSCRIBERS.into_iter().chain(flags.iter().map(String::as_str)).collect();
        let server = site.tailwater(&self.tailwater, "serve", node, &flags).await?;
        Ok(Stack::one(server, Dialect::Tailwater))
    }
}

impl Stack {
    pub(super) fn one(server: Pinned, dialect: Dialect) -> Stack {
        let endpoint = DriverEndpoint::at(server.addr(), dialect);
        Stack { endpoint, processes: vec![server], redis: None }
    }
}

/// Cores and a directory.
pub(super) struct Site {
    pub(super) cores: CoreSet,
    pub(super) directory: PathBuf,
}

impl Site {
    pub(super) async fn run(
        &self,
        name: &str,
        program: &Path,
        arguments: impl FnOnce(SocketAddr) -> Result<Vec<String>>,
    ) -> Result<Pinned> {
        Pinned::start(name, &self.cores, program, &self.directory, arguments).await
    }

    async fn nginx(&self, redis: Option<SocketAddr>) -> Result<Pinned> {
        let arguments = |at| nginx::arguments(at, redis, &self.directory);
        self.run("nginx", Path::new(nginx::PROGRAM), arguments).await
    }

    /// A Redis without persistence.
    pub(super) async fn redis(&self) -> Result<Pinned> {
        let arguments = |at: SocketAddr| {
            let (ip, port) = (at.ip().to_string(), at.port().to_string());
            let words = ["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no"];
            Ok(words.map(str::to_owned).into())
        };
        self.run("redis", Path::new("redis-server"), arguments).await
    }

    /// Each node by a name of its own.
    pub(super) async fn tailwater(
        &self,
        program: &Path,
        role: &str,
        node: &str,
        more: &[&str],
    ) -> Result<Pinned> {
        // Only a number: the lock ends here, and the program listens at once.
        let admin = Port::reserve()?.addr();
        let arguments = |at: SocketAddr| {
            let (at, admin) = (at.to_string(), admin.to_string());
            let own = [role, "--listen", &at, "--admin-listen", &admin, "--node", node];
            // At the end there is no client to wait for.
            let end = ["--drain-delay", "0s"];
            Ok(own.iter().chain(&end).chain(more).map(|word| (*word).to_owned()).collect())
        };
        let server = self.run(node, program, arguments).await?;
        wait_for(node, async || is_ready(admin).await).await?;
        Ok(server)
    }

    async fn cluster(&self, program: &Path, gateways: usize) -> Result<Stack> {
        let redis = self.redis().await?;
        let url = format!("redis://{}", redis.addr());
        let ingest = self.tailwater(program, INGEST, INGEST, &["--redis", &url]).await?;
        let publish = ingest.addr();
        let mut processes = vec![ingest];
        let flags = [&["--redis", &url], &SUBSCRIBERS[..]].concat();
        for number in 1..=gateways {
            let node = format!("{GATEWAY}-{number}");
            processes.push(self.tailwater(program, GATEWAY, &node, &flags).await?);
        }
        let subscribe = processes.last().context("there is no gateway")?.addr();
        let endpoint =
            DriverEndpoint { publish, ..DriverEndpoint::at(subscribe, Dialect::Tailwater) };
        Ok(Stack { endpoint, processes, redis: Some(redis) })
    }
}

async fn is_ready(admin: SocketAddr) -> Result<bool> {
    Ok(http::get(admin, "/readyz").await?.status == 200)
}

async fn wait_for(name: &str, is_ready: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + READY_DEADLINE;
    loop {
        match is_ready().await {
            Ok(true) => return Ok(()),
            answer => ensure!(Instant::now() < until, "{name} is not ready: {answer:?}"),
        }
        sleep(POLL).await;
    }
}
