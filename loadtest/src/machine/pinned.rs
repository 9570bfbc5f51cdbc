//! A program that is pinned to cores, its CPU time and its memory.

use std::iter::Sum;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::child::{Child, Recipe, WorkDir};
use super::cores::CoreSet;
use super::port::Port;

const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A program that runs on chosen cores only (through `taskset`) and listens on a port of its own.
#[derive(Debug)]
pub struct Pinned {
    child: Child,
    port: Port,
}

/// The memory of a program and of the processes that it started, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Resident, shared pages counted in each process.
    pub rss: u64,
    /// Resident, shared pages divided among the processes that share them.
    pub pss: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Memory>>(all: I) -> Memory {
        all.fold(Memory::default(), |sum, one| Memory {
            rss: sum.rss + one.rss,
            pss: sum.pss + one.pss,
        })
    }
}

impl Pinned {
    /// Starts `program` on `cores` with the arguments that `arguments` makes of its address, and
    /// waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start(
        name: &str,
        cores: &CoreSet,
        program: &Path,
        directory: &Path,
        arguments: impl FnOnce(SocketAddr) -> Result<Vec<String>>,
    ) -> Result<Pinned> {
        let port = Port::reserve()?;
        let pin = ["-c".to_owned(), cores.to_string(), program.display().to_string()];
        let args = pin.into_iter().chain(arguments(port.addr())?).collect();
        let recipe = Recipe {
            wrapper: Vec::new(),
            program: PathBuf::from("taskset"),
            args,
            envs: Vec::new(),
        };
        let directory = WorkDir::new(Some(directory.to_owned()))?;
        let mut child = Child::start(name, recipe, directory)?;
        let address = port.addr();
        let accepts = async || Ok(TcpStream::connect(address).is_ok());
        child.wait_until(START_DEADLINE, "listening", accepts).await?;
        Ok(Pinned { child, port })
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The name that it was started with.
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// The number of its open files, with those of its child processes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn open_files(&self) -> Result<u64> {
        let files = self
            .pids()?
            .into_iter()
            .map(|pid| Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64));
        files.sum()
    }

    /// The CPU time that it has used, with its child processes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for pid in self.pids()? {
            for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
                let ran = text.split(' ').next().context("an empty schedstat")?;
                nanos += ran.parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// The memory that it holds, with its child processes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self) -> Result<Memory> {
        let mut sum = Memory::default();
        for pid in self.pids()? {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let bytes = |name: &str| -> Result<u64> {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
                Ok(kib.with_context(|| format!("no {name} in smaps_rollup"))?.parse::<u64>()?
                    * 1024)
            };
            sum.rss += bytes("Rss:")?;
            sum.pss += bytes("Pss:")?;
        }
        Ok(sum)
    }

    /// Stops it, and its child processes.
    ///
    /// # Errors
    /// When it does not stop in time; it is killed then.
    pub async fn stop(mut self) -> Result<()> {
        self.child.terminate(STOP_DEADLINE).await.map(drop)
    }

    fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = vec![self.child.pid().context("the program does not run")?];
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            next += 1;
        }
        Ok(pids)
    }
}

/// Keeps this thread on one core.
///
/// # Errors
/// When there is no such core.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core).with_context(|| format!("there is no core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &cores).with_context(|| format!("there is no core {core}"))
}
