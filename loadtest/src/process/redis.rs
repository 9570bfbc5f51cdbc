//! A redis-server of our own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::child::{Child, Recipe, WorkDir};
use super::port::Port;

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(20);
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

/// What a [`Redis`] is to be.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    append_fsync: AppendFsync,
    args: Vec<String>,
    program: Option<PathBuf>,
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
        let port = Port::reserve()?;
        let fsync = match self.append_fsync {
            AppendFsync::Off => None,
            AppendFsync::No => Some("no"),
            AppendFsync::Everysec => Some("everysec"),
            AppendFsync::Always => Some("always"),
        };
        let number = port.number().to_string();
        let mut args =
            ["--port", &number, "--bind", "127.0.0.1", "--save", ""].map(str::to_owned).to_vec();
        args.extend(["--maxmemory-policy", "noeviction"].map(str::to_owned));
        if let Some(fsync) = fsync {
            args.extend(["--appendonly", "yes", "--appendfsync", fsync].map(str::to_owned));
        }
        args.extend(self.args);
        let recipe = Recipe {
            program: self.program.unwrap_or_else(|| "redis-server".into()),
            args,
            envs: Vec::new(),
        };
        let child = Child::start("redis", recipe, WorkDir::new(self.directory)?)?;
        let mut redis = Redis { child, port };
        redis.wait_ready().await?;
        Ok(redis)
    }
}

/// A redis-server on a port of its own, killed when dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: Port,
}

impl Redis {
    /// Says what the server is to be.
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

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
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
        let ping = async || Ok(command(addr, &["PING"]).await? == "+PONG");
        self.child.wait_until(READY_DEADLINE, "ready", ping).await
    }

    /// Sends one command and returns the first line of the raw answer, `+OK` for instance.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn command(&self, words: &[&str]) -> Result<String> {
        command(self.addr(), words).await
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }
}

async fn command(addr: SocketAddr, words: &[&str]) -> Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.contains(&b'\n') && stream.read_buf(&mut answer).await? > 0 {}
        let text = String::from_utf8_lossy(&answer);
        Ok(text.lines().next().unwrap_or_default().to_owned())
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
