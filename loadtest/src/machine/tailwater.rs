//! The program under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::child::{Child, Recipe, WorkDir};
use super::place::Place;
use super::port::Port;
use super::redis::Redis;
use crate::client::http;

const READY_DEADLINE: Duration = Duration::from_secs(20);

/// Longer than any drain window that a test would wait for.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// The options of a [`Tailwater`].
#[derive(Debug)]
pub struct TailwaterBuilder {
    program: PathBuf,
    subcommand: &'static str,
    name: Option<String>,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    place: Place,
    ports: Option<(Port, Port)>,
    directory: Option<PathBuf>,
}

impl TailwaterBuilder {
    fn new(program: PathBuf, subcommand: &'static str) -> Self {
        TailwaterBuilder {
            program,
            subcommand,
            name: None,
            args: Vec::new(),
            // A backtrace would push the message of a panic out of the tail that failures show.
            envs: vec![("RUST_BACKTRACE".to_owned(), "0".to_owned())],
            place: Place::default(),
            ports: None,
            directory: None,
        }
    }

    /// The log is in this Redis; without it the log is embedded, which only `serve` and `relay` can.
    #[must_use]
    pub fn redis(self, redis: &Redis) -> Self {
        self.flag("--redis", redis.url())
    }

    /// The node's name, which its log file bears too; the subcommand unless said.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another flag with its value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Into<String>) -> Self {
        self.args.extend([name.to_owned(), value.into()]);
        self
    }

    /// Another argument as it stands.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// A directory for the log that is kept; temporary unless said.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Another place to run at than this machine's loopback interface.
    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// These ports, for `--listen` and `--admin-listen`; free ones unless said.
    #[must_use]
    pub fn ports(mut self, listen: Port, admin: Port) -> Self {
        self.ports = Some((listen, admin));
        self
    }

    /// Starts the program without waiting for anything.
    ///
    /// # Errors
    /// When there is no such program or no free port.
    pub fn spawn(self) -> Result<Tailwater> {
        let program = std::path::absolute(&self.program)?;
        let (listen, admin) = match self.ports {
            Some(ports) => ports,
            None => (Port::reserve()?.on(self.place.ip), Port::reserve()?.on(self.place.ip)),
        };
        let name = self.name.unwrap_or_else(|| self.subcommand.to_owned());
        let (listens, admins) = (listen.addr().to_string(), admin.addr().to_string());
        let own =
            [self.subcommand, "--listen", &listens, "--admin-listen", &admins, "--node", &name];
        // Where other machines could reach it, a node does not start before it knows whom to let in.
        let is_open = !self.place.ip.is_loopback();
        let rights: &[_] = if is_open { &["subscribe=**", "publish=**"] } else { &[] };
        let rights =
            rights.iter().flat_map(|right| ["--anonymous".to_owned(), (*right).to_owned()]);
        let recipe = Recipe {
            wrapper: self.place.wrapper(),
            program,
            args: own.map(str::to_owned).into_iter().chain(rights).chain(self.args).collect(),
            envs: self.envs,
        };
        let child = Child::start(&name, recipe, WorkDir::new(self.directory)?)?;
        Ok(Tailwater { child, listen, admin })
    }

    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the message shows its log.
    pub async fn start(self) -> Result<Tailwater> {
        let mut tailwater = self.spawn()?;
        tailwater.wait_ready().await?;
        Ok(tailwater)
    }
}

/// A running `tailwater`, on ports of its own that survive restarts. Killed when dropped.
#[derive(Debug)]
pub struct Tailwater {
    child: Child,
    listen: Port,
    admin: Port,
}

impl Tailwater {
    /// `tailwater serve`: gateway and ingest in one process.
    pub fn serve(program: impl Into<PathBuf>) -> TailwaterBuilder {
        TailwaterBuilder::new(program.into(), "serve")
    }

    /// `tailwater gateway`: serves subscribers.
    pub fn gateway(program: impl Into<PathBuf>) -> TailwaterBuilder {
        TailwaterBuilder::new(program.into(), "gateway")
    }

    /// `tailwater ingest`: takes events.
    pub fn ingest(program: impl Into<PathBuf>) -> TailwaterBuilder {
        TailwaterBuilder::new(program.into(), "ingest")
    }

    /// `tailwater relay`: makes the answers of this upstream resumable.
    pub fn relay(program: impl Into<PathBuf>, upstream: &str) -> TailwaterBuilder {
        TailwaterBuilder::new(program.into(), "relay").flag("--upstream", upstream)
    }

    /// `tailwater relay`: copies the sources of this file.
    pub fn copier(program: impl Into<PathBuf>, config: &Path) -> TailwaterBuilder {
        let config = config.to_string_lossy().into_owned();
        TailwaterBuilder::new(program.into(), "relay").flag("--config", config)
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        self.child.name()
    }

    /// The address for publishers and subscribers.
    pub fn addr(&self) -> SocketAddr {
        self.listen.addr()
    }

    /// The address of `/readyz`, `/livez` and `/metrics`.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it does not in time, or the process is gone; the message shows its log.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let admin = self.admin_addr();
        let is_ready = async || {
            let answer = http::Client::new(admin).timeout(READY_TIMEOUT).get("/readyz").await?;
            anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(true)
        };
        self.child.wait_until(READY_DEADLINE, "ready", is_ready).await
    }

    /// Returns true if `/readyz` answers 200 now.
    pub async fn is_ready(&self) -> bool {
        let answer = http::get(self.admin_addr(), "/readyz").await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metrics(&self) -> Result<String> {
        Ok(http::get(self.admin_addr(), "/metrics").await?.text())
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill_nine(&mut self) -> Result<()> {
        self.child.kill_nine()
    }

    /// Sends SIGTERM and waits for the exit, which comes after the drain.
    ///
    /// # Errors
    /// When it does not run, or does not stop within a minute; the message shows its log.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.child.terminate(STOP_DEADLINE).await
    }

    /// Sends SIGHUP, as a terminal that closes, and does not wait.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn hang_up(&self) -> Result<()> {
        self.child.signal(Signal::SIGHUP)
    }

    /// Sends SIGTERM and does not wait: for tests of the drain itself.
    ///
    /// # Errors
    /// When it does not run.
    pub fn begin_termination(&self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)
    }

    /// Waits for the exit.
    ///
    /// # Errors
    /// When it does not stop within a minute; the message shows its log.
    pub async fn wait_exit(&mut self) -> Result<ExitStatus> {
        self.child.wait_exit(STOP_DEADLINE).await
    }

    /// Starts it again on the same ports and waits until it is ready. A running one is killed
    /// first.
    ///
    /// # Errors
    /// When it does not become ready; the message shows its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.child.kill_nine()?;
        self.child.start_again()?;
        self.wait_ready().await
    }

    /// Starts another build of the program in its place, as [`restart`](Self::restart) does.
    ///
    /// # Errors
    /// When it does not become ready; the message shows its log.
    pub async fn restart_as(&mut self, program: &Path) -> Result<()> {
        self.child.become_program(program);
        self.restart().await
    }

    /// Stops it with SIGSTOP: connections stay open and nothing moves.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.child.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen one run on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.child.signal(Signal::SIGCONT)
    }

    /// Lowers or raises the number of files that it may have open from here on.
    ///
    /// # Errors
    /// When it does not run, or `prlimit` of util-linux is missing.
    pub fn limit_files(&self, files: u64) -> Result<()> {
        let pid = self.child.pid().context("the program does not run")?;
        let limit = format!("--nofile={files}:");
        let status = std::process::Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &limit])
            .status()
            .context("cannot run prlimit")?;
        anyhow::ensure!(status.success(), "prlimit left with {status}");
        Ok(())
    }

    /// The number of its open files.
    ///
    /// # Errors
    /// When it does not run.
    pub fn open_files(&self) -> Result<u64> {
        let pid = self.child.pid().context("the program does not run")?;
        Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
    }

    /// The CPU time that it has used, user and system.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        super::child::cpu_time(self.child.pid().context("the program does not run")?)
    }

    /// The memory that it holds, in bytes (`VmRSS`).
    ///
    /// # Errors
    /// When it does not run.
    pub fn rss_bytes(&self) -> Result<u64> {
        let pid = self.child.pid().context("the program does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .context("no VmRSS in /proc")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.pid()
    }

    /// Returns true while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_running()
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.child.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }
}
