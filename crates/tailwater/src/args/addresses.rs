//! The addresses of a node.

use std::net::SocketAddr;

use clap::Args as ClapArgs;

/// The addresses that a node listens on. Nodes of a cluster have other defaults.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct AddressArgs {
    /// Addresses for clients, each with its port; separated by commas, or repeated. [::] is every address of this
    /// machine, IPv4 too.
    #[arg(
        long,
        env = "TAILWATER_LISTEN",
        default_value = "127.0.0.1:8080,[::1]:8080",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Addresses for /metrics, /livez, /readyz, /debug/connections, sources and log.
    #[arg(
        long,
        env = "TAILWATER_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090,[::1]:9090",
        value_name = "ADDRESS,…",
        value_delimiter = ','
    )]
    pub(crate) admin_listen: Vec<SocketAddr>,
}
