//! The flags that bound what one subject can hold.

use clap::Args as ClapArgs;
use clap::value_parser;

/// The flags of a node that serves subscribers which bound one subject.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Quotas")]
pub(crate) struct QuotaArgs {
    /// Streams and long-polls that one subject may have open at a time, on all nodes together; a token may set
    /// fewer.
    #[arg(
        long,
        env = "TAILWATER_SUBJECT_STREAMS",
        // A person has some dozens, over all tabs and devices; a back end that fans out itself has a
        // connection for each of its users, and this many fill a small node.
        default_value_t = 10_000,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..)
    )]
    pub(crate) subject_streams: u32,
}
