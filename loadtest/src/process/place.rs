//! Where a program runs: this machine's own network, or a namespace beside it.

use std::net::Ipv4Addr;

/// A network namespace, if any, and the address to listen on.
#[derive(Clone, Debug)]
pub struct Place {
    /// The name of the namespace; `None` is the driver's own.
    pub namespace: Option<String>,
    /// The address that programs there listen on.
    pub ip: Ipv4Addr,
}

impl Default for Place {
    fn default() -> Self {
        Place { namespace: None, ip: Ipv4Addr::LOCALHOST }
    }
}

impl Place {
    /// What starts a program there.
    pub(super) fn wrapper(&self) -> Vec<String> {
        match &self.namespace {
            None => Vec::new(),
            Some(name) => ["ip", "netns", "exec", name].map(str::to_owned).to_vec(),
        }
    }
}
