//! A program that runs in a process group of its own, and the lines that it prints.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::task::AbortOnDropHandle;

/// Most lines that are kept of one program; one that repeats a topic for ever prints more.
const LINES_MAX: usize = 20_000;

/// The start of a [`Program`].
#[derive(Debug)]
pub(super) struct Launch<'a> {
    /// The program and its arguments.
    pub(super) words: &'a [String],
    /// The working directory.
    pub(super) directory: &'a Path,
    /// Variables of the environment.
    pub(super) envs: &'a [(&'static str, String)],
    /// The file of its errors.
    pub(super) log: PathBuf,
}

/// A running program. Dropping it kills it and its children.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    group: Option<Pid>,
    lines: Arc<Mutex<Vec<String>>>,
    _reading: AbortOnDropHandle<()>,
}

impl Program {
    /// Starts it.
    pub(super) fn start(launch: &Launch<'_>) -> Result<Program> {
        let (program, args) = launch.words.split_first().context("a command without a program")?;
        let log = File::create(&launch.log)
            .with_context(|| format!("cannot write {}", launch.log.display()))?;
        // The kernel kills it if this process is killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .current_dir(launch.directory)
            .envs(launch.envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdout = child.stdout.take().context("no standard output")?;
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let reading = AbortOnDropHandle::new(tokio::spawn(read(stdout, Arc::clone(&lines))));
        Ok(Program { child, group, lines, _reading: reading })
    }

    /// The lines of its standard output so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it in hand").clone()
    }

    /// True while it runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // An error means that the group has ended already.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

async fn read(stdout: ChildStdout, lines: Arc<Mutex<Vec<String>>>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        line.clear();
        let mut lines = lines.lock().expect("nobody panics with it in hand");
        if lines.len() < LINES_MAX {
            lines.push(text);
        }
    }
}
