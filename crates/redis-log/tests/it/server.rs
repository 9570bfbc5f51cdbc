//! A Redis server that cannot outlive its test. `REDIS_SERVER` names another binary.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A server in a directory of its own. It is killed with its handle, or with the process of the test.
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

    /// Starts a server with more arguments, `--name value`.
    pub(crate) async fn with(args: &[&str]) -> Self {
        let common = ["--save", "", "--enable-debug-command", "yes"];
        // The copy of a replica begins at once.
        let common = [&common[..], &["--repl-diskless-sync-delay", "0"]].concat();
        let args: Vec<_> = common.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        Self::of(args, |_| {}).await
    }

    /// Starts a sentinel that watches the primary at a port as `main`, with more lines of configuration.
    pub(crate) async fn sentinel(primary: u16, lines: &str) -> Self {
        let config = format!(
            "sentinel monitor main 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 2000\n{lines}\n"
        );
        let args = ["sentinel.conf", "--sentinel"].map(str::to_owned);
        Self::of(args.into(), |dir| {
            std::fs::write(dir.path().join("sentinel.conf"), &config).unwrap()
        })
        .await
    }

    /// Starts a server with a port for TLS beside its own; `None` if it was built without TLS.
    pub(crate) async fn encrypted(certificate: &str, key: &str, ca: &str) -> Option<Self> {
        let files =
            ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca];
        let port = free_port().to_string();
        let args = [&["--tls-port", &port, "--tls-auth-clients", "no"][..], &files].concat();
        // A server that was built without TLS exits with an error.
        let script = "\"${REDIS_SERVER:-redis-server}\" \"$@\" > /dev/null & sleep 0.3; kill -9 $!";
        let try_out = ["-c", script, "sh", "--port", "0"];
        if !Command::new("sh").args(try_out).args(&args).status().unwrap().success() {
            return None;
        }
        Some(Self::with(&args).await)
    }

    pub(crate) fn tls_port(&self) -> u16 {
        let port = self.args.iter().position(|arg| arg == "--tls-port").map(|i| &self.args[i + 1]);
        port.unwrap().parse().unwrap()
    }

    async fn of(args: Vec<String>, prepare: impl Fn(&TempDir)) -> Self {
        for _ in 0..PORTS_TRIED {
            let dir = TempDir::new().unwrap();
            prepare(&dir);
            let port = free_port();
            let child = spawn(&dir, port, &args);
            let mut server = Self { dir, port, args: args.clone(), child };
            if server.answers().await {
                return server;
            }
        }
        panic!("no redis-server comes up");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The words of `REPLICAOF` that make another server its replica.
    pub(crate) fn host_port(&self) -> String {
        format!("127.0.0.1 {}", self.port)
    }

    /// kill -9: the shell around the server does it when its input ends.
    pub(crate) fn kill(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// Starts the server again, on the same port and with its files.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, self.port, &self.args);
        assert!(self.answers().await, "redis-server does not come up again");
    }

    pub(crate) async fn pid(&self) -> Pid {
        let info: String = self.words("INFO server").await;
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        Pid(pid.unwrap().to_owned())
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_run(command).await.unwrap()
    }

    /// Runs a command given as words.
    pub(crate) async fn words<T: FromRedisValue>(&self, words: &str) -> T {
        self.try_words(words).await.unwrap()
    }

    pub(crate) async fn try_words<T: FromRedisValue>(&self, words: &str) -> RedisResult<T> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        self.try_run(&command).await
    }

    /// The server's clock, in milliseconds.
    pub(crate) async fn now(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.words("TIME").await;
        seconds * 1000 + micros / 1000
    }

    /// The number of times that the server has run a command.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let info: String = self.words("INFO commandstats").await;
        let prefix = format!("cmdstat_{command}:calls=");
        let calls = info.lines().find_map(|line| line.strip_prefix(&prefix));
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    }

    pub(crate) async fn try_run<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let limits = AsyncConnectionConfig::new().set_response_timeout(Some(START_MAX));
        let mut connection = client.get_multiplexed_async_connection_with_config(&limits).await?;
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

/// The server's own process, for signals.
pub(crate) struct Pid(String);

impl Pid {
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0]).status().unwrap().success());
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(dir: &TempDir, port: u16, args: &[String]) -> Child {
    // The input ends when the test ends, in any way.
    let script = "\"${REDIS_SERVER:-redis-server}\" \"$@\" > log 2>&1 & \
                  read -r _; kill -9 $!; wait $! 2> log.sh; exit 0";
    Command::new("sh")
        .args(["-c", script, "sh"])
        .args(args)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}
