//! A network namespace with nothing in it but its loopback interface.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::geteuid;

use super::network::ip;
use super::port::Port;
use super::spawner;

/// A namespace. Dropping it removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Reserves the name.
    _port: Port,
}

impl Namespace {
    /// Makes it.
    ///
    /// # Errors
    /// Without root, or when `ip` is missing or refuses.
    pub fn create() -> Result<Namespace> {
        ensure!(geteuid().is_root(), "a network namespace needs root");
        let port = Port::reserve()?;
        let namespace = Namespace { name: format!("tw-{}", port.number()), _port: port };
        let make = || {
            ip(&format!("netns add {}", namespace.name))?;
            ip(&format!("-n {} link set lo up", namespace.name))
        };
        make().context("cannot make a network namespace")?;
        Ok(namespace)
    }

    /// A command that runs this program in it.
    ///
    /// # Errors
    /// When this program cannot be found.
    pub fn command(&self, arguments: &[String]) -> Result<Command> {
        let mut command = spawner::command(Path::new("ip"));
        command.args(["netns", "exec", &self.name]).arg(std::env::current_exe()?).args(arguments);
        Ok(command)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&format!("netns del {}", self.name)) {
            eprintln!("{error:#}");
        }
    }
}
