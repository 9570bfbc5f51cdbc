//! Another process of this program, which takes orders line by line.
//!
//! A process may open only so many files, often 20,000, so more sockets need more processes.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};

use super::spawner;

/// A worker, killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts this program again with these arguments.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(args: &[String]) -> Result<Worker> {
        let program: PathBuf = std::env::current_exe()?;
        let mut command = spawner::command(&program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawner::spawn(command).context("cannot start a worker")?;
        let orders = child.stdin.take().context("no standard input")?;
        let answers = child.stdout.take().context("no standard output")?;
        let answers = BufReader::new(ChildStdout::from_std(answers)?).lines();
        Ok(Worker { child, orders: ChildStdin::from_std(orders)?, answers })
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn order(&mut self, line: &str) -> Result<()> {
        self.orders.write_all(format!("{line}\n").as_bytes()).await.context("a worker is gone")
    }

    /// The answer to an order: a line of JSON.
    ///
    /// # Errors
    /// When the worker is gone, or says something else.
    pub async fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.answers.next_line().await?.context("a worker is gone")?;
        serde_json::from_str(&line).with_context(|| format!("a worker said {line:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
