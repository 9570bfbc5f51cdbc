//! The addresses that a node listens on.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

/// Fails if an address of the services is one of the admin port.
pub(super) fn ensure_apart(listen: &[SocketAddr], admin: &[SocketAddr]) -> Result<()> {
    for (flag, addresses) in [("--listen", listen), ("--admin-listen", admin)] {
        ensure!(!addresses.is_empty(), "{flag} names no address");
        for (i, address) in addresses.iter().enumerate() {
            let twice = addresses[..i].iter().find(|other| clash(*address, **other));
            if let Some(other) = twice {
                ensure!(false, "{flag} {other} and {address} are the same port");
            }
        }
    }
    for listen in listen {
        for admin in admin {
            ensure!(
                !clash(*listen, *admin),
                "--listen {listen} and --admin-listen {admin} are the same port"
            );
        }
    }
    Ok(())
}

/// Returns true if two sockets cannot listen on these addresses at once.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let is_same_host = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    one.port() != 0 && one.port() == other.port() && is_same_host
}

/// Returns true if only this machine reaches all of these addresses.
pub(crate) fn are_local(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
}

/// Returns addresses as a person writes them.
pub(crate) fn shown(addresses: &[SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(listen: &[&str], admin: &[&str]) -> Result<()> {
        let all = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        ensure_apart(&all(listen), &all(admin))
    }

    #[test]
    fn a_port_is_the_services_or_the_admins() {
        apart(&["127.0.0.1:8080", "[::1]:8080"], &["127.0.0.1:9090", "[::1]:9090"]).unwrap();
        apart(&["127.0.0.1:0"], &["127.0.0.1:0"]).unwrap();
        for (listen, admin) in [
            (&["127.0.0.1:80"][..], &["0.0.0.0:80"][..]),
            (&["[::]:80"], &["127.0.0.1:80"]),
            (&["127.0.0.1:81", "[::1]:80"], &["127.0.0.1:80", "[::]:80"]),
            (&["[::1]:80", "[::]:80"], &["[::1]:81"]),
            (&["[::1]:80"], &[]),
        ] {
            assert!(apart(listen, admin).is_err(), "{listen:?} {admin:?}");
        }
    }
}
