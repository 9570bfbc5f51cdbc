//! A load balancer of any kind, with a configuration that the caller wrote.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::child::{Child, Recipe, WorkDir};
use crate::client::http;

/// Varnish compiles its configuration first, and all of them may start at the same time.
const READY_DEADLINE: Duration = Duration::from_secs(60);

const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The command of a load balancer that stays in the foreground.
#[derive(Debug)]
pub struct BalancerCommand {
    /// The name, which its log bears.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables of its environment.
    pub envs: Vec<(String, String)>,
    /// Its working directory, where the log is as well.
    pub directory: PathBuf,
}

/// A running load balancer, killed when dropped.
#[derive(Debug)]
pub struct Balancer {
    child: Child,
    addr: SocketAddr,
}

impl Balancer {
    /// Starts it and waits until a GET through it, at the address that its configuration names, has the status 200.
    /// Some listen before they know their upstreams.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start(command: BalancerCommand, addr: SocketAddr) -> Result<Balancer> {
        let BalancerCommand { name, program, args, envs, directory } = command;
        let recipe = Recipe { wrapper: Vec::new(), program, args, envs };
        let mut child = Child::start(&name, recipe, WorkDir::new(Some(directory))?)?;
        let serves = async || {
            let answer = http::Client::new(addr).timeout(ANSWER_TIMEOUT).get("/").await?;
            ensure!(answer.status == 200, "status {}", answer.status);
            Ok(true)
        };
        child.wait_until(READY_DEADLINE, "ready", serves).await?;
        Ok(Balancer { child, addr })
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Balancer {
    /// Kills its workers as well, which are in its process group.
    fn drop(&mut self) {
        let group = self.child.pid().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        if let Some(group) = group {
            // An error means that all of them have ended already.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}
