//! The kernel's memory, of the whole machine: others must be quiet.

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The kernel's memory at a moment, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Kernel {
    /// Its objects: sockets, files, directory entries, entries of epoll.
    pub(super) slab: u64,
    /// The data in the buffers of this namespace's TCP sockets.
    pub(super) buffers: u64,
}

impl Kernel {
    pub(super) fn read() -> Result<Kernel> {
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let line = memory.lines().find_map(|line| line.strip_prefix("Slab:"));
        let slab = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("no Slab in /proc/meminfo")?;
        let sockets = std::fs::read_to_string("/proc/net/sockstat")?;
        let tcp = sockets
            .lines()
            .find(|line| line.starts_with("TCP:"))
            .context("no TCP in /proc/net/sockstat")?;
        let pages = tcp.rsplit(' ').next().context("no mem")?;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.context("no page")?;
        Ok(Kernel {
            slab: slab.parse::<u64>()? * 1024,
            buffers: pages.parse::<u64>()? * u64::try_from(page)?,
        })
    }
}
