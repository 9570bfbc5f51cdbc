//! A server under measurement: one process or several, all on the same cores.

use std::net::SocketAddr;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::launch::{GATEWAY, INGEST};
use crate::cost::driver::DriverEndpoint;
use crate::machine::{Memory, Pinned, calls};

/// Running processes that are one server together. Dropping it kills them.
#[derive(Debug)]
pub struct Stack {
    pub(super) endpoint: DriverEndpoint,
    /// In the order in which they were started.
    pub(super) processes: Vec<Pinned>,
    pub(super) redis: Option<Pinned>,
}

/// The processor time of a stack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Of all processes.
    pub all: Duration,
    /// Of Redis alone.
    pub redis: Duration,
}

/// The resources of a process at a moment.
#[derive(Debug, Clone, Serialize)]
pub struct Holding {
    /// The process.
    pub name: String,
    /// Its memory, in bytes.
    pub memory: Memory,
    /// Its open files.
    pub files: u64,
    /// The processor time that it has used.
    pub cpu: Duration,
}

impl Stack {
    /// Its addresses for publishers and readers.
    pub const fn endpoint(&self) -> DriverEndpoint {
        self.endpoint
    }

    /// The addresses of its gateways.
    pub fn gateways(&self) -> Vec<SocketAddr> {
        let gateways = self.processes.iter().filter(|process| process.name().starts_with(GATEWAY));
        gateways.map(Pinned::addr).collect()
    }

    /// The addresses of its ingests.
    pub fn ingests(&self) -> Vec<SocketAddr> {
        let ingests = self.processes.iter().filter(|process| process.name().starts_with(INGEST));
        ingests.map(Pinned::addr).collect()
    }

    /// Counts the calls of a command in its Redis, with the calls by scripts.
    ///
    /// # Errors
    /// When the stack has no Redis, or Redis does not answer.
    pub async fn redis_calls(&self, command: &str) -> Result<u64> {
        let redis = self.redis.as_ref().context("there is no Redis")?;
        calls(redis.addr(), command).await
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn cpu(&self) -> Result<Cpu> {
        let redis = self.redis.as_ref().map_or(Ok(Duration::ZERO), Pinned::cpu)?;
        let own = self.processes.iter().map(Pinned::cpu);
        Ok(Cpu { all: own.sum::<Result<Duration>>()? + redis, redis })
    }

    /// The memory that it holds, without Redis.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn memory(&self) -> Result<Memory> {
        self.processes.iter().map(Pinned::memory).sum()
    }

    /// The resources of each process, Redis last.
    ///
    /// # Errors
    /// When one is gone.
    pub fn holdings(&self) -> Result<Vec<Holding>> {
        let holding = |process: &Pinned| {
            let (memory, files) = (process.memory()?, process.open_files()?);
            Ok(Holding { name: process.name().to_owned(), memory, files, cpu: process.cpu()? })
        };
        self.processes.iter().chain(&self.redis).map(holding).collect()
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not stop in time; it is killed then.
    pub async fn stop(self) -> Result<()> {
        for process in self.processes.into_iter().rev().chain(self.redis) {
            process.stop().await?;
        }
        Ok(())
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { all: self.all - before.all, redis: self.redis - before.redis }
    }
}
