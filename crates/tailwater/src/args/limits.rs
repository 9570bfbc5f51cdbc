//! The flags that bound what clients can hold.

use clap::Args as ClapArgs;
use clap::builder::FalseyValueParser;
use limits::AddressShare;

use super::Size;

/// The flags of every node that bound what clients can hold.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Networks of the load balancers in front: their clients count by the address that
    /// X-Forwarded-For or Forwarded names; none trusts nobody.
    #[arg(
        long,
        env = "TAILWATER_TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1",
        value_name = "CIDR,…",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxies: Vec<String>,
    /// Share of everything that one address may take, above 0 to 1; 1 lets one take all. An IPv6
    /// address counts with its /64.
    #[arg(long, env = "TAILWATER_ADDRESS_SHARE", default_value_t = AddressShare::default())]
    pub(crate) address_share: AddressShare,
    /// Memory for clients: pages that they do not take, bodies that they do not finish [default: a
    /// quarter of the memory of the container or the machine].
    #[arg(long, env = "TAILWATER_MEMORY_BUDGET", value_name = "SIZE")]
    pub(crate) memory_budget: Option<Size>,
    /// Maximum number of open connections on --listen [default: the limit of open files less a
    /// reserve].
    #[arg(long, env = "TAILWATER_MAX_OPEN", value_name = "N")]
    pub(crate) max_open: Option<usize>,
    /// Expect the PROXY protocol, version 1 or 2, at the start of each connection on --listen, which
    /// only --trusted-proxies may then open.
    #[arg(long, env = "TAILWATER_PROXY_PROTOCOL", value_parser = FalseyValueParser::new())]
    pub(crate) proxy_protocol: bool,
}
