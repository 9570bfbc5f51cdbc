//! A redis-server that the driver starts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::child::{Child, Recipe, WorkDir};
use super::place::Place;
use super::port::Port;
use super::resp;

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// The name of a Sentinel's configuration file.
const SENTINEL_CONFIG: &str = "sentinel.conf";
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// When Redis makes its append-only file durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendFsync {
    /// No append-only file at all: a kill -9 loses everything.
    Off,
    /// Left to the kernel.
    No,
    /// Once a second.
    #[default]
    Everysec,
    /// Before each answer.
    Always,
}

/// The options of a [`Redis`].
#[derive(Debug, Default)]
pub struct RedisBuilder {
    append_fsync: AppendFsync,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    program: Option<PathBuf>,
    place: Place,
    sentinel: Option<String>,
    directory: Option<PathBuf>,
}

impl RedisBuilder {
    /// When the append-only file is made durable; every second unless said otherwise.
    #[must_use]
    pub fn append_fsync(mut self, append_fsync: AppendFsync) -> Self {
        self.append_fsync = append_fsync;
        self
    }

    /// Another argument for redis-server.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Another server than the `redis-server` of the PATH: Valkey, another version.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// Another place to run at than this machine's loopback interface.
    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// A Sentinel, which keeps this configuration as a file and writes to it.
    #[must_use]
    pub fn sentinel(mut self, config: impl Into<String>) -> Self {
        self.sentinel = Some(config.into());
        self
    }

    /// A directory for data and log that is kept; temporary unless said.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start(self) -> Result<Redis> {
        let port = Port::reserve()?.on(self.place.ip);
        let number = port.number().to_string();
        let ip = self.place.any_ip().to_string();
        let directory = WorkDir::new(self.directory.clone())?;
        let mut args = Vec::new();
        if let Some(config) = &self.sentinel {
            std::fs::write(directory.path().join(SENTINEL_CONFIG), config)?;
            args.extend([SENTINEL_CONFIG, "--sentinel"].map(str::to_owned));
        }
        args.extend(["--port", &number, "--bind", &ip].map(str::to_owned));
        args.extend(["--protected-mode", "no"].map(str::to_owned));
        if self.sentinel.is_none() {
            args.extend(self.storage());
        }
        args.extend(self.args);
        let recipe = Recipe {
            wrapper: self.place.wrapper(),
            program: self.program.unwrap_or_else(|| "redis-server".into()),
            args,
            envs: self.envs,
        };
        let child = Child::start("redis", recipe, directory)?;
        let inner = SocketAddr::from((self.place.inner, port.number()));
        let mut redis = Redis { child, port, inner };
        redis.wait_ready().await?;
        Ok(redis)
    }

    /// The persistence of its data.
    fn storage(&self) -> Vec<String> {
        let fsync = match self.append_fsync {
            AppendFsync::Off => None,
            AppendFsync::No => Some("no"),
            AppendFsync::Everysec => Some("everysec"),
            AppendFsync::Always => Some("always"),
        };
        let mut args =
            ["--save", "", "--maxmemory-policy", "noeviction"].map(str::to_owned).to_vec();
        if let Some(fsync) = fsync {
            args.extend(["--appendonly", "yes", "--appendfsync", fsync].map(str::to_owned));
        }
        args
    }
}

/// A redis-server on a port of its own, killed when dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: Port,
    inner: SocketAddr,
}

impl Redis {
    /// The options of a server, to be changed and started.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// A server with the defaults: append-only file, every second.
    ///
    /// # Errors
    /// As [`RedisBuilder::start`].
    pub async fn start() -> Result<Redis> {
        Redis::builder().start().await
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Its address for other programs of its place.
    pub fn inner_addr(&self) -> SocketAddr {
        self.inner
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill_nine(&mut self) -> Result<()> {
        self.child.kill_nine()
    }

    /// Stops it cleanly.
    ///
    /// # Errors
    /// When it does not run, or still does after a while.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.child.terminate(STOP_DEADLINE).await
    }

    /// Starts it again on the same port and data, and waits until it answers. A running server is
    /// killed first.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.child.kill_nine()?;
        self.child.start_again()?;
        self.wait_ready().await
    }

    /// Starts another build of the server in its place, as [`restart`](Self::restart) does.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn restart_as(&mut self, program: &Path) -> Result<()> {
        self.child.become_program(program);
        self.restart().await
    }

    /// Stops it with SIGSTOP: connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.child.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen server run on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.child.signal(Signal::SIGCONT)
    }

    /// Waits until it answers PING, which it refuses while it loads its data.
    ///
    /// # Errors
    /// When it does not in time; the message shows its log.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let addr = self.addr();
        let ping = async || Ok(answer(addr, &["PING"]).await? == b"+PONG\r\n");
        self.child.wait_until(READY_DEADLINE, "ready", ping).await
    }

    /// Sends one command and returns the first line of the raw answer, `+OK` for instance.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn command(&self, words: &[&str]) -> Result<String> {
        let answer = answer(self.addr(), words).await?;
        let text = String::from_utf8_lossy(&answer);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Sends one command and returns the texts of its answer, however they are nested.
    ///
    /// # Errors
    /// When the server does not answer, or answers an error.
    pub async fn query(&self, words: &[&str]) -> Result<Vec<String>> {
        query(self.addr(), words).await
    }

    /// A field of INFO.
    ///
    /// # Errors
    /// When the server does not answer, or does not have it.
    pub async fn info(&self, field: &str) -> Result<String> {
        info(self.addr(), field).await
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.child.directory()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }
}

/// Counts the calls of a command in any server since its start.
pub(crate) async fn calls(addr: SocketAddr, command: &str) -> Result<u64> {
    let info = query(addr, &["INFO", "commandstats"]).await?.concat();
    let prefix = format!("cmdstat_{command}:calls=");
    // A command that never ran has no line.
    let Some(rest) = info.lines().find_map(|line| line.strip_prefix(&prefix)) else {
        return Ok(0);
    };
    let calls = rest.split(',').next().unwrap_or_default();
    calls.parse().with_context(|| format!("no number of calls in {rest:?}"))
}

/// A field of the INFO of any server.
async fn info(addr: SocketAddr, field: &str) -> Result<String> {
    let info = query(addr, &["INFO", "everything"]).await?.concat();
    let prefix = format!("{field}:");
    let value = info.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(value.with_context(|| format!("INFO without {field}"))?.trim().to_owned())
}

async fn query(addr: SocketAddr, words: &[&str]) -> Result<Vec<String>> {
    let answer = answer(addr, words).await?;
    let texts = resp::texts(&answer);
    ensure!(!answer.starts_with(b"-"), "{words:?} was answered {texts:?}");
    Ok(texts)
}

/// One command over a connection of its own, and its whole answer as it came.
async fn answer(addr: SocketAddr, words: &[&str]) -> Result<Vec<u8>> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while resp::frame_length(&answer).is_none() && stream.read_buf(&mut answer).await? > 0 {}
        Ok(answer)
    };
    timeout(PING_TIMEOUT, exchange).await?
}

#[cfg(test)]
mod tests {
    use super::{AppendFsync, Redis};

    #[tokio::test]
    async fn data_survives_kill_nine_and_restart_on_the_same_port() {
        let builder = Redis::builder().append_fsync(AppendFsync::Always);
        let mut redis = builder.start().await.expect("a redis");
        let url = redis.url();
        assert_eq!(redis.command(&["SET", "k", "v"]).await.expect("set"), "+OK");
        redis.kill_nine().expect("killed");
        assert!(redis.command(&["PING"]).await.is_err());
        redis.restart().await.expect("up again");
        assert_eq!(redis.url(), url);
        assert_eq!(redis.command(&["STRLEN", "k"]).await.expect("there"), ":1");
    }

    #[tokio::test]
    async fn bad_option_fails_with_the_log() {
        let error = Redis::builder().arg("--no-such-option").start().await;
        let text = format!("{:#}", error.expect_err("refused"));
        assert!(text.contains("no-such-option"), "{text}");
    }
}
