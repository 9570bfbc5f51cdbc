//! A Redis server that cannot outlive its test. `REDIS_SERVER` names another binary than Debian's.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A server in a directory of its own, killed with its handle or with the process that holds it.
pub(crate) struct Server {
    dir: TempDir,
    port: u16,
    args: Vec<String>,
    child: Child,
}

const START_MAX: Duration = Duration::from_secs(20);
/// Another process may take a free port before the server does.
const PORTS_TRIED: usize = 5;

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server with more arguments, `--name value`.
    pub(crate) async fn with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..PORTS_TRIED {
            let dir = TempDir::new().unwrap();
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let child = spawn(&dir, free.port(), &args);
            let mut server = Self { dir, port: free.port(), args: args.clone(), child };
            if server.answers().await {
                return server;
            }
        }
        panic!("no redis-server comes up");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The words of `REPLICAOF` that make another server its replica.
    pub(crate) fn host_port(&self) -> String {
        format!("127.0.0.1 {}", self.port)
    }

    /// kill -9: the shell that watches over the server does it when its input ends.
    pub(crate) fn kill(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// On the same port, with what it has on disk.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, self.port, &self.args);
        assert!(self.answers().await, "redis-server does not come up again");
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_run(command).await.unwrap()
    }

    /// Runs a command given as words.
    pub(crate) async fn words<T: FromRedisValue>(&self, words: &str) -> T {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        self.run(&command).await
    }

    /// The server's clock, in milliseconds.
    pub(crate) async fn now(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.words("TIME").await;
        seconds * 1000 + micros / 1000
    }

    async fn try_run<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    }

    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if self.try_run::<String>(&redis::cmd("PING")).await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(dir: &TempDir, port: u16, args: &[String]) -> Child {
    // Input that ends means that the test has ended, however it did.
    let script = "${REDIS_SERVER:-redis-server} \"$@\" > log 2>&1 & read -r _; kill -9 $!; wait $! 2> log.sh; exit 0";
    Command::new("sh")
        .args(["-c", script, "sh", "--save", "", "--bind", "127.0.0.1"])
        .args(["--port", &port.to_string(), "--enable-debug-command", "yes"])
        .args(args)
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}
