//! A program that runs, its working directory and its log.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child as OsChild, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::spawner;

/// The pause between two looks at the state of a process.
const POLL: Duration = Duration::from_millis(10);

/// The number of log lines that a failure shows.
const TAIL_LINES: usize = 30;

/// The directory of a program's files.
#[derive(Debug)]
pub(super) enum WorkDir {
    /// Deleted when the handle is dropped.
    Temporary(TempDir),
    /// Chosen by the caller, and kept.
    Kept(PathBuf),
}

impl WorkDir {
    /// `kept` if the caller chose a directory, which is created; else a temporary one.
    pub(super) fn new(kept: Option<PathBuf>) -> Result<WorkDir> {
        let Some(path) = kept else {
            let directory = tempfile::Builder::new().prefix("tailwater-").tempdir();
            return Ok(WorkDir::Temporary(directory?));
        };
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(WorkDir::Kept(path))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            WorkDir::Temporary(directory) => directory.path(),
            WorkDir::Kept(path) => path,
        }
    }
}

/// The command of a program that may start again and again.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The command that starts the program, `ip netns exec NAME` for instance; it must exec the
    /// program.
    pub(super) wrapper: Vec<String>,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) envs: Vec<(String, String)>,
}

/// A program under our control. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    recipe: Recipe,
    directory: WorkDir,
    running: Option<OsChild>,
}

impl Child {
    /// Starts the program. Its output is appended to `NAME.log` in its directory.
    pub(super) fn start(name: &str, recipe: Recipe, directory: WorkDir) -> Result<Child> {
        let mut child = Child { name: name.to_owned(), recipe, directory, running: None };
        child.start_again()?;
        Ok(child)
    }

    /// Names another program for the next start.
    pub(super) fn become_program(&mut self, program: &Path) {
        self.recipe.program = program.to_owned();
    }

    /// Starts the program if it does not run.
    pub(super) fn start_again(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .with_context(|| format!("cannot write {}", self.log_path().display()))?;
        let mut command = match self.recipe.wrapper.split_first() {
            None => spawner::command(&self.recipe.program),
            Some((wrapper, args)) => {
                let mut command = spawner::command(Path::new(wrapper));
                command.args(args).arg(&self.recipe.program);
                command
            }
        };
        command
            .args(&self.recipe.args)
            .envs(self.recipe.envs.iter().map(|(n, v)| (n, v)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for the driver alone.
            .process_group(0);
        let running = spawner::spawn(command)
            .with_context(|| format!("cannot start {}", self.recipe.program.display()))?;
        self.running = Some(running);
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.directory.path().join(format!("{}.log", self.name))
    }

    /// The last lines of the log, for messages.
    pub(super) fn log_tail(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL_LINES);
        format!(
            "--- the last lines of {} ---\n{}\n---",
            self.log_path().display(),
            lines[skipped..].join("\n")
        )
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(OsChild::id)
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.exit_status(), Ok(None)) && self.running.is_some()
    }

    /// The exit status, once the process is gone; `None` while it runs or after it was collected.
    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else {
            return Ok(None);
        };
        let status = running.try_wait()?;
        if status.is_some() {
            self.running = None;
        }
        Ok(status)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        let pid = Pid::from_raw(i32::try_from(pid)?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub(super) fn kill_nine(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            running.kill()?;
            running.wait()?;
        }
        Ok(())
    }

    /// Sends SIGTERM and waits for the exit.
    pub(super) async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_exit(deadline).await
    }

    /// Waits for the exit.
    pub(super) async fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("{} still runs after {deadline:?}\n{}", self.name, self.log_tail());
            }
            sleep(POLL).await;
        }
    }

    /// Polls `is_ready` until it says yes, the process is gone, or the deadline has passed.
    pub(super) async fn wait_until(
        &mut self,
        deadline: Duration,
        what: &str,
        is_ready: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            let answer = is_ready().await;
            if matches!(answer, Ok(true)) {
                return Ok(());
            }
            if let Some(status) = self.exit_status()? {
                bail!("{} stopped with {status}\n{}", self.name, self.log_tail());
            }
            if Instant::now() > until {
                let why = answer.err().map_or_else(String::new, |e| format!(": {e:#}"));
                let tail = self.log_tail();
                bail!("{} is not {what} after {deadline:?}{why}\n{tail}", self.name);
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.kill_nine() {
            eprintln!("cannot stop {}: {error:#}", self.name);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// The CPU time of a process, user and system, in the kernel's ticks of 10 ms.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Child, Recipe, WorkDir};

    fn shell(script: &str) -> Child {
        let recipe = Recipe {
            wrapper: Vec::new(),
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            envs: Vec::new(),
        };
        let directory = WorkDir::new(None).expect("a directory");
        Child::start("shell", recipe, directory).expect("a shell")
    }

    fn exists(pid: u32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn dropped_handle_leaves_no_process() {
        let child = shell("exec sleep 1000");
        let pid = child.pid().expect("it runs");
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
    }

    #[tokio::test]
    async fn terminate_returns_the_exit_status() {
        let mut child =
            shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
        let log = child.log_path();
        let is_up = async || Ok(std::fs::read_to_string(&log)?.contains("up"));
        child.wait_until(Duration::from_secs(5), "up", is_up).await.expect("up");
        let status = child.terminate(Duration::from_secs(5)).await.expect("gone");
        assert_eq!(status.code(), Some(3));
        assert!(child.log_tail().contains("bye"));
    }

    #[tokio::test]
    async fn early_exit_is_reported_with_the_log() {
        let mut child = shell("echo no such flag; exit 2");
        let never = async || Ok(false);
        let error =
            child.wait_until(Duration::from_secs(5), "ready", never).await.expect_err("it is gone");
        let text = format!("{error:#}");
        assert!(text.contains("exit status: 2") && text.contains("no such flag"), "{text}");
    }
}
