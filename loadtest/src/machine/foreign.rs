//! A server of others that a scenario starts, kills and starts again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::child::{Child, Recipe, WorkDir, cpu_time};

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Foreign(Child);

/// The longest time until a program is ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);

impl Foreign {
    /// Starts a program in a directory, which keeps its log. `wrapper` is a command that execs the program, or empty.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(
        name: &str,
        wrapper: &[&str],
        program: impl Into<PathBuf>,
        args: Vec<String>,
        directory: &Path,
    ) -> Result<Foreign> {
        let wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let recipe = Recipe { wrapper, program: program.into(), args, envs: Vec::new() };
        Ok(Foreign(Child::start(name, recipe, WorkDir::new(Some(directory.to_owned()))?)?))
    }

    /// Waits until the program is ready, by the caller's own question.
    ///
    /// # Errors
    /// When it is not in time, or is gone; the message shows its log.
    pub async fn wait_until(&mut self, is_ready: impl AsyncFn() -> Result<bool>) -> Result<()> {
        self.0.wait_until(READY_DEADLINE, "ready", is_ready).await
    }

    /// Sends SIGKILL and waits until the process is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill_nine(&mut self) -> Result<()> {
        self.0.kill_nine()
    }

    /// Sends SIGTERM, and waits until the process is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent, or the process stays.
    pub async fn terminate(&mut self) -> Result<()> {
        self.0.terminate(READY_DEADLINE).await.map(drop)
    }

    /// The directory of the program's files.
    pub fn directory(&self) -> &Path {
        self.0.directory()
    }

    /// Starts the program again, if it does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.0.start_again()
    }

    /// Returns true if the process runs.
    pub fn is_running(&mut self) -> bool {
        self.0.is_running()
    }

    /// The CPU time of the process, user and system.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.0.pid().unwrap_or_default())
    }

    /// The last lines of the log, for messages.
    pub fn log_tail(&self) -> String {
        self.0.log_tail()
    }
}
