//! A load balancer in front of the gateways, as a deployment would have one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::child::{Child, Recipe, WorkDir};
use super::port::Port;
use super::tailwater::Tailwater;

const READY_DEADLINE: Duration = Duration::from_secs(10);

/// `maxconn` takes two descriptors a connection, and containers often grant 20,000. One
/// thread suffices for the load of one machine, and leaves the cores to the gateways.
///
/// Timeouts are well above the heartbeat of 15 s; `timeout tunnel` would have no effect on SSE. A
/// request that reached a dead server is repeated on another one, which is safe because only GET
/// comes this way; anything else is excepted all the same.
///
/// A killed gateway needs no quick health check: its connections are refused, and a refused one is
/// tried on another gateway at once. A twitchy check does harm: on a machine short of CPU all
/// gateways were down together, and the 503 that follows ends a browser's `EventSource` for good.
///
/// `http-no-delay` matters: without it HAProxy holds small writes back for up to 200 ms to join
/// them with the next (measured: 213 ms to the first event instead of 3). In mode `tcp` HAProxy ignores the
/// directives for HTTP, with a warning.
const CONFIG: &str = "\
global
    maxconn 9000
    nbthread 1
    stats socket unix@admin.sock level admin

defaults
    mode {mode}
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout queue 10s
    retries 3
    option redispatch 1
    option http-no-delay

frontend subscribers
    bind 127.0.0.1:{port} backlog 8192
    http-request disable-l7-retry if !METH_GET
    default_backend gateways

backend gateways
    balance leastconn
    retry-on conn-failure empty-response
    option httpchk GET /readyz
    timeout check 2s
    default-server check inter 1s fastinter 250ms downinter 250ms fall 2 rise 1
";

/// The configuration of docker-compose.yml, and its answer when no gateway is up.
const DEPLOYED: &str = include_str!("../../../deploy/haproxy/haproxy.cfg");
const RECONNECT: &str = include_str!("../../../deploy/haproxy/reconnect.sse");

/// A state of a server that the load balancer can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Takes new connections, if its health check agrees.
    Ready,
    /// Keeps its connections and gets no new ones.
    Drain,
    /// Out of service.
    Maintenance,
}

impl ServerState {
    fn word(self) -> &'static str {
        match self {
            ServerState::Ready => "ready",
            ServerState::Drain => "drain",
            ServerState::Maintenance => "maint",
        }
    }
}

/// The load balancer's view of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// It gets new connections.
    pub is_up: bool,
    /// Connections to it that failed.
    pub failed_connections: u64,
    /// Requests that were sent once more, to it or to another one.
    pub repeated: u64,
}

/// A running HAProxy, killed when dropped.
#[derive(Debug)]
pub struct Haproxy {
    child: Child,
    port: Port,
}

impl Haproxy {
    /// Starts one in front of these gateways, which are known by their node names.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start(gateways: &[&Tailwater]) -> Result<Haproxy> {
        Haproxy::start_in(gateways, None).await
    }

    /// Starts one that passes the bytes of each connection through, so that gateways serve over TLS.
    ///
    /// # Errors
    /// As [`Haproxy::start`].
    pub async fn start_tcp(gateways: &[&Tailwater]) -> Result<Haproxy> {
        Haproxy::start_mode("tcp", gateways, None).await
    }

    /// As [`Haproxy::start`], with a directory for its files that is kept.
    ///
    /// # Errors
    /// As [`Haproxy::start`].
    pub async fn start_in(gateways: &[&Tailwater], kept: Option<PathBuf>) -> Result<Haproxy> {
        Haproxy::start_mode("http", gateways, kept).await
    }

    async fn start_mode(
        mode: &str,
        gateways: &[&Tailwater],
        kept: Option<PathBuf>,
    ) -> Result<Haproxy> {
        let port = Port::reserve()?;
        let config = config(mode, &port, gateways);
        Haproxy::run(port, WorkDir::new(kept)?, &config).await
    }

    /// Starts the load balancer of docker-compose.yml, with its own configuration, in front of three gateways
    /// and an ingest.
    ///
    /// # Errors
    /// As [`Haproxy::start`].
    pub async fn deployed(gateways: [&Tailwater; 3], ingest: &Tailwater) -> Result<Haproxy> {
        let (port, directory) = (Port::reserve()?, WorkDir::new(None)?);
        std::fs::write(directory.path().join("reconnect.sse"), RECONNECT)?;
        let config = deployed(&port, gateways, ingest);
        Haproxy::run(port, directory, &config).await
    }

    async fn run(port: Port, directory: WorkDir, config: &str) -> Result<Haproxy> {
        std::fs::write(directory.path().join("haproxy.cfg"), config)?;
        let recipe = Recipe {
            wrapper: Vec::new(),
            program: program(),
            args: ["-db", "-f", "haproxy.cfg"].map(str::to_owned).to_vec(),
            envs: Vec::new(),
        };
        let child = Child::start("haproxy", recipe, directory)?;
        let mut haproxy = Haproxy { child, port };
        haproxy.wait_ready().await?;
        Ok(haproxy)
    }

    /// The address for subscribers.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Waits until it listens and believes every gateway to be up.
    ///
    /// # Errors
    /// When it does not in time; the message shows its log.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let socket = self.socket();
        let all_up = async || {
            let stats = runtime(&socket, "show stat -1 4 -1").await?;
            let is_gateway =
                |line: &&str| line.starts_with("gateways,") || line.starts_with("streams,");
            let mut servers = stats.lines().filter(is_gateway);
            Ok(servers.all(|line| line.contains(",UP,")))
        };
        self.child.wait_until(READY_DEADLINE, "ready", all_up).await
    }

    /// Changes the state of a gateway, by its node name.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub async fn set_server(&self, node: &str, state: ServerState) -> Result<()> {
        let command = format!("set server gateways/{node} state {}", state.word());
        let answer = runtime(&self.socket(), &command).await?;
        ensure!(answer.trim().is_empty(), "haproxy refused `{command}`: {answer}");
        Ok(())
    }

    /// The load balancer's view of a gateway, by its node name.
    ///
    /// # Errors
    /// When it knows none of that name or does not answer.
    pub async fn server(&self, node: &str) -> Result<ServerView> {
        let stats = runtime(&self.socket(), "show stat -1 4 -1").await?;
        view(&stats, node).with_context(|| format!("haproxy knows no {node}: {stats}"))
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    fn socket(&self) -> PathBuf {
        self.child.directory().join("admin.sock")
    }
}

/// Debian puts it where a user's PATH does not look.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/haproxy");
    if debian.exists() { debian } else { "haproxy".into() }
}

fn config(mode: &str, port: &Port, gateways: &[&Tailwater]) -> String {
    let port = port.number().to_string();
    let mut config = CONFIG.replace("{mode}", mode).replace("{port}", &port);
    for gateway in gateways {
        let (node, addr, admin) = (gateway.node(), gateway.addr(), gateway.admin_addr());
        writeln!(config, "    server {node} {addr} port {}", admin.port())
            .expect("a String takes everything");
    }
    config
}

/// The deployed configuration, with the addresses of this machine in place of names.
fn deployed(port: &Port, gateways: [&Tailwater; 3], ingest: &Tailwater) -> String {
    let mut config = DEPLOYED
        .replace("bind :8080", &format!("bind 127.0.0.1:{}", port.number()))
        .replace("bind :8404", "bind unix@operators.sock")
        .replace("/usr/local/etc/haproxy/", "")
        .replace("    default-server resolvers docker init-addr libc,none\n", "")
        .replace(" resolvers docker init-addr libc,none", "")
        .replace("ingest:8081", &ingest.addr().to_string());
    for (number, gateway) in (1..).zip(gateways) {
        let (name, addr) = (format!("gateway-{number}:8080"), gateway.addr().to_string());
        let checked = format!("{addr} port {}\n", gateway.admin_addr().port());
        config = config.replace(&format!("{name}\n"), &checked).replace(&name, &addr);
    }
    format!("global\n    maxconn 9000\n    stats socket unix@admin.sock level admin\n\n{config}")
}

/// Reads a server's line of the statistics, whose first line names the columns.
fn view(stats: &str, node: &str) -> Option<ServerView> {
    let names = stats.lines().next()?.trim_start_matches("# ").split(',');
    let is_node = |line: &&str| line.split(',').nth(1) == Some(node);
    let values = stats.lines().skip(1).find(is_node)?.split(',');
    let row: std::collections::HashMap<&str, &str> = names.zip(values).collect();
    let count = |name: &str| row.get(name)?.parse::<u64>().ok();
    Some(ServerView {
        is_up: row.get("status")?.starts_with("UP"),
        failed_connections: count("econ")?,
        repeated: count("wretr")? + count("wredis")?,
    })
}

/// One command to the runtime socket, and its answer.
async fn runtime(socket: &std::path::Path, command: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).await.context("no runtime socket")?;
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::{ServerView, view};

    #[test]
    fn columns_are_found_by_name() {
        let stats = "# pxname,svname,econ,wretr,wredis,status,\n\
                     gateways,gw-1,0,0,0,UP,\ngateways,gw-2,1,2,3,UP 1/2,\n\
                     gateways,gw-3,0,0,0,DOWN,\n";
        let is_up = |node| view(stats, node).map(|view| view.is_up);
        assert_eq!([is_up("gw-1"), is_up("gw-3"), is_up("gw-4")], [Some(true), Some(false), None]);
        let second = ServerView { is_up: true, failed_connections: 1, repeated: 5 };
        assert_eq!(view(stats, "gw-2"), Some(second));
    }
}
