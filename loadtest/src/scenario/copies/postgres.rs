//! An outbox table as a source.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::system::{SourceRecord, System, Writer};
use crate::machine::{Foreign, Port};

/// A server with an outbox.
#[derive(Debug)]
pub(super) struct Postgres {
    program: Foreign,
    psql: Psql,
    _port: Port,
}

/// The longest time for which a write is repeated.
const WRITE_MAX: Duration = Duration::from_mins(1);
/// The longest life of one statement.
const STATEMENT_MAX: Duration = Duration::from_secs(20);
/// The statements that make the outbox of docs/sources.md.
const OUTBOX: &str = include_str!("../../../../deploy/postgres/outbox.sql");

impl Postgres {
    pub(super) async fn start(directory: &Path) -> Result<Self> {
        let bin = binaries()?;
        let directory = directory.join("postgres");
        std::fs::create_dir_all(&directory)?;
        let data = directory.join("data");
        // Postgres refuses to run as root.
        let is_root = nix::unistd::geteuid().is_root();
        let wrapper: &[&str] = if is_root {
            &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        } else {
            &[]
        };
        if is_root {
            run(Command::new("chown").arg("postgres").arg(&directory)).await?;
        }
        let mut initdb = match wrapper.split_first() {
            Some((wrapper, args)) => {
                let mut command = Command::new(wrapper);
                command.args(args).arg(bin.join("initdb"));
                command
            }
            None => Command::new(bin.join("initdb")),
        };
        run(initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust"]).current_dir("/"))
            .await?;
        let port = Port::reserve()?;
        let number = port.number().to_string();
        let settings = [
            "wal_level=logical",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=on",
        ];
        let mut args = vec!["-D".to_owned(), data.to_string_lossy().into_owned()];
        args.extend(["-p".to_owned(), number.clone()]);
        args.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let psql = Psql { program: bin.join("psql"), port: number };
        let program = Foreign::start("postgres", wrapper, bin.join("postgres"), args, &directory)?;
        let mut this = Self { program, psql, _port: port };
        this.wait_ready().await?;
        this.psql.run(OUTBOX).await.context("deploy/postgres/outbox.sql")?;
        Ok(this)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let psql = self.psql.clone();
        self.program.wait_until(async || psql.run("SELECT 1").await.map(|_| true)).await
    }
}

/// The folder of the newest Postgres of this machine.
fn binaries() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("no Postgres is installed")?;
    let newest = versions.filter_map(Result::ok).map(|entry| entry.path().join("bin"));
    newest.filter(|bin| bin.join("initdb").exists()).max().context("no Postgres is installed")
}

async fn run(command: &mut Command) -> Result<Output> {
    let output = command.kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

#[async_trait(?Send)]
impl System for Postgres {
    fn table(&self) -> String {
        format!(
            "topic = \"{{topic}}\"\n[source.s.postgres]\nurl = \"postgres://postgres@127.0.0.1:{}/postgres\"\n\
             slot = \"tailwater\"\npublication = \"tailwater\"\ntls = \"off\"\n",
            self.psql.port
        )
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.psql.clone()))
    }

    async fn kill_nine(&mut self) -> Result<()> {
        self.program.kill_nine()
    }

    async fn restart(&mut self) -> Result<()> {
        let until = Instant::now() + WRITE_MAX;
        // The processes of the killed server hold its memory for a moment, and a new one refuses to start meanwhile.
        loop {
            self.program.start_again()?;
            match self.wait_ready().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

/// The client of Postgres.
#[derive(Debug, Clone)]
struct Psql {
    program: PathBuf,
    port: String,
}

impl Psql {
    async fn run(&self, sql: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-p", &self.port, "-d", "postgres", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut stdin = child.stdin.take().context("psql has an input")?;
        let all = async {
            stdin.write_all(sql.as_bytes()).await?;
            drop(stdin);
            let output = child.wait_with_output().await?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        tokio::time::timeout(STATEMENT_MAX, all).await.context("psql does not come back")?
    }
}

#[async_trait(?Send)]
impl Writer for Psql {
    async fn write(&mut self, records: &[SourceRecord]) -> Result<()> {
        let mut rows = String::new();
        for SourceRecord { id, topic, data } in records {
            let separator = if rows.is_empty() { "" } else { ",\n" };
            write!(rows, "{separator}({}, '{topic}', '{data}')", id + 1)?;
        }
        // A commit whose answer was lost is repeated, and then inserts nothing.
        let sql = format!(
            "INSERT INTO outbox (id, topic, data) OVERRIDING SYSTEM VALUE VALUES {rows} ON CONFLICT (id) DO NOTHING;"
        );
        let until = Instant::now() + WRITE_MAX;
        while let Err(error) = self.run(&sql).await {
            ensure!(Instant::now() < until, "Postgres does not take rows: {error:#}");
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
