//! Two network namespaces with a link between them that can be cut, as a partition does.
//!
//! The driver reaches both by links of their own, which stay. Needs root and `ip` of iproute2.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::place::Place;
use super::port::Port;

/// The link between the two, as it is called in each.
const LINK: &str = "between";

/// Two namespaces, `near` and `far`. Dropping it removes them.
#[derive(Debug)]
pub struct Network {
    /// One side.
    pub near: Place,
    /// The other side.
    pub far: Place,
    /// Reserves the names and addresses.
    _port: Port,
}

impl Network {
    /// Makes the namespaces and their links.
    ///
    /// # Errors
    /// When `ip` is missing or refuses, for want of root for instance.
    pub fn create() -> Result<Network> {
        // Its number makes names and addresses differ from those of other networks on this machine,
        // and of earlier ones, which the kernel takes a while to remove.
        let port = Port::reserve()?;
        let own = port.number();
        let [high, low] = (own % (128 * 64)).to_be_bytes();
        let second = 100 + high * 4 + low / 64;
        let place = |side: &str, subnet: u8| Place {
            namespace: Some(format!("tw-{own}-{side}")),
            ip: Ipv4Addr::new(10, second, low % 64 * 4 + subnet, 2),
            inner: Ipv4Addr::new(10, second, low % 64 * 4 + 3, subnet),
        };
        let network = Network { near: place("near", 1), far: place("far", 2), _port: port };
        // From here on a failure removes the namespaces again.
        for (side, outer) in [(&network.near, "n"), (&network.far, "f")] {
            let (name, outer) = (side.name(), format!("tw{outer}{own}"));
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add {outer} type veth peer name driver netns {name}"))?;
            let [a, b, subnet, _] = side.ip.octets();
            ip(&format!("addr add {a}.{b}.{subnet}.1/24 dev {outer}"))?;
            ip(&format!("link set {outer} up"))?;
            ip(&format!("-n {name} addr add {}/24 dev driver", side.ip))?;
            ip(&format!("-n {name} link set driver up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        let (near, far) = (network.near.name(), network.far.name());
        ip(&format!("-n {near} link add {LINK} type veth peer name {LINK} netns {far}"))?;
        for side in [&network.near, &network.far] {
            ip(&format!("-n {} addr add {}/24 dev {LINK}", side.name(), side.inner))?;
            ip(&format!("-n {} link set {LINK} up", side.name()))?;
        }
        Ok(network)
    }

    /// Cuts the link between the two, or joins it again. Nothing is closed by it.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn part(&self, apart: bool) -> Result<()> {
        let state = if apart { "down" } else { "up" };
        ip(&format!("-n {} link set {LINK} {state}", self.near.name()))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in [&self.near, &self.far] {
            if let Err(error) = ip(&format!("netns del {}", side.name())) {
                eprintln!("{error:#}");
            }
        }
    }
}

pub(super) fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .context("no `ip`: install iproute2")?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", why.trim());
    Ok(())
}
