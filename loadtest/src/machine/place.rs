//! The network of a program: this machine's own, or a namespace beside it.

use std::net::Ipv4Addr;

/// A network namespace, if any, and the addresses of its programs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The name of the namespace; `None` is the driver's own.
    pub namespace: Option<String>,
    /// The address by which the driver reaches programs there.
    pub ip: Ipv4Addr,
    /// The address by which programs there reach each other.
    pub inner: Ipv4Addr,
}

impl Default for Place {
    fn default() -> Self {
        Place { namespace: None, ip: Ipv4Addr::LOCALHOST, inner: Ipv4Addr::LOCALHOST }
    }
}

impl Place {
    /// The name of the namespace; empty for the driver's own.
    pub(super) fn name(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The address on which a server there must listen so that everybody reaches it.
    pub(super) fn any_ip(&self) -> Ipv4Addr {
        if self.namespace.is_some() { Ipv4Addr::UNSPECIFIED } else { self.ip }
    }

    /// The command that starts a program there.
    pub(super) fn wrapper(&self) -> Vec<String> {
        match &self.namespace {
            None => Vec::new(),
            Some(name) => ["ip", "netns", "exec", name].map(str::to_owned).to_vec(),
        }
    }
}
