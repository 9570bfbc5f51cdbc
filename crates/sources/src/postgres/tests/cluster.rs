//! A server of its own for a test, in a directory of its own.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::postgres::connection::{PostgresClient, Purpose};
use crate::postgres::server::{Server, Tls};

/// A running server, which is killed with its directory.
#[derive(Debug)]
pub(super) struct Cluster {
    dir: TempDir,
    bin: PathBuf,
    settings: Vec<String>,
    port: u16,
    child: Child,
}

/// The longest start, also after a crash.
const START_MAX: Duration = Duration::from_secs(60);

/// The newest installed server's programs.
fn programs() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest =
        installed.map(|entry| entry.path()).filter(|p| version(p).is_some()).max_by_key(version);
    newest.expect("Postgres is installed; scripts/setup does it").join("bin")
}

/// The user that a server runs as: it refuses root.
fn user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let postgres = users.lines().find(|line| line.starts_with("postgres:")).filter(|_| is_root)?;
    let ids: Vec<_> = postgres.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    Some((ids[0], ids[1]))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl Cluster {
    /// Starts a server with settings of its own.
    pub(super) async fn start(settings: &[&str]) -> Self {
        let (dir, bin) = (Self::directory(), programs());
        let mut initdb = as_user(&bin.join("initdb"));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--wal-segsize=1",
        ]);
        done(initdb.arg("--pgdata").arg(dir.path().join("data")));
        let rules = "host all relay 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
        fs::write(dir.path().join("data/pg_hba.conf"), rules).unwrap();
        let port = free_port();
        let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let child = Self::spawn(&bin, dir.path(), port, &settings);
        let mut cluster = Self { dir, bin, settings, port, child };
        cluster.wait().await;
        cluster
    }

    fn directory() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        if let Some((uid, gid)) = user() {
            chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        dir
    }

    fn spawn(bin: &Path, dir: &Path, port: u16, settings: &[String]) -> Child {
        let mut command = as_user(&bin.join("postgres"));
        command.arg("-D").arg(dir.join("data")).args(["-p", &port.to_string()]);
        let own = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "wal_level=logical",
            "fsync=off",
        ];
        for setting in own.into_iter().chain(settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Waits until the server lets clients in. One that was killed leaves children that hold its memory for a moment: the next
    /// one is started again.
    async fn wait(&mut self) {
        let end = Instant::now() + START_MAX;
        while PostgresClient::open(&self.server(), Purpose::Sql).await.is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "{}", log());
            if self.child.try_wait().unwrap().is_some() {
                self.child = Self::spawn(&self.bin, self.dir.path(), self.port, &self.settings);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn server(&self) -> Server {
        Server { tls: Tls::Off, ..Server::parse(&self.url("postgres")).unwrap() }
    }

    pub(super) fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// Kills the server and starts it again.
    pub(super) async fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.restart().await;
    }

    /// Stops the server as an operator does, and returns the time that it takes.
    pub(super) async fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        let mut stop = as_user(&self.bin.join("pg_ctl"));
        stop.args(["stop", "--no-wait", "--mode=fast", "--pgdata"])
            .arg(self.dir.path().join("data"));
        done(&mut stop);
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < START_MAX, "it does not stop");
            sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    /// Starts a server that was stopped.
    pub(super) async fn restart(&mut self) {
        self.child = Self::spawn(&self.bin, self.dir.path(), self.port, &self.settings);
        self.wait().await;
    }

    /// Starts a copy of a server that was stopped, and promotes it to a server on its own.
    pub(super) async fn promoted_copy(&self) -> Self {
        let dir = Self::directory();
        done(
            as_user(Path::new("/bin/cp"))
                .arg("-r")
                .arg(self.dir.path().join("data"))
                .arg(dir.path()),
        );
        fs::write(dir.path().join("data/standby.signal"), "").unwrap();
        let (bin, settings, port) = (self.bin.clone(), self.settings.clone(), free_port());
        let child = Self::spawn(&bin, dir.path(), port, &settings);
        let mut copy = Self { dir, bin, settings, port, child };
        copy.wait().await;
        copy.psql("SELECT pg_promote()");
        copy
    }

    /// Connects.
    pub(super) async fn sql(&self) -> PostgresClient {
        PostgresClient::open(&self.server(), Purpose::Sql).await.unwrap()
    }

    /// The number that a query answers.
    pub(super) async fn number(&self, sql: &str) -> u64 {
        let rows = self.sql().await.query(sql).await.unwrap();
        rows[0][0].as_ref().unwrap().parse().unwrap()
    }

    fn run(&self, args: &[&str]) {
        let mut psql = as_user(&self.bin.join("psql"));
        psql.args(["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1"]).args(args);
        done(psql.arg(self.url("postgres")));
    }

    /// Runs a command.
    pub(super) fn psql(&self, sql: &str) {
        self.run(&["-c", sql]);
    }

    /// Makes the table, the publication and the slot as operators do.
    pub(super) fn make_outbox(&self) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postgres/outbox.sql");
        let text = fs::read_to_string(file).unwrap();
        self.run(&["-f", &self.file("outbox.sql", &text)]);
    }

    /// Writes a file, and returns its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let file = self.dir.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Gives the server a certificate, and returns the file of its authority.
    pub(super) fn use_tls(&self) -> String {
        let (data, ca) = (self.dir.path().join("data"), self.dir.path().join("ca.pem"));
        let run = |args: &str| {
            let mut openssl = as_user(Path::new("/usr/bin/openssl"));
            done(openssl.current_dir(&data).args(args.split_whitespace()));
        };
        run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ../ca.pem -days 2 -subj /CN=ca",
        );
        run(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=db",
        );
        fs::write(data.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        run(
            "x509 -req -in server.csr -CA ../ca.pem -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile san",
        );
        self.psql("ALTER SYSTEM SET ssl = on");
        self.psql("SELECT pg_reload_conf()");
        ca.to_str().unwrap().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
