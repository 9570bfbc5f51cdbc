//! The flags that bound what one subject can hold.

use clap::Args as ClapArgs;
use clap::value_parser;

use super::Size;

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
    /// Topics that the streams and long-polls of one subject may watch at a time on this node; a token may set
    /// fewer. The default is that of --subject-streams with all topics of the default --max-topics.
    #[arg(
        long,
        env = "TAILWATER_SUBJECT_TOPICS",
        default_value_t = 640_000,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..)
    )]
    pub(crate) subject_topics: u32,
}

/// The flags of a node that serves publishers which bound one subject.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Quotas")]
pub(crate) struct PublishQuotaArgs {
    /// Events a second that one subject may publish on this node, 10 s of them at once; a token may set fewer. The
    /// default is more than one Redis takes (docs/performance.md), since a back end that publishes for all is one
    /// subject.
    #[arg(
        long,
        env = "TAILWATER_SUBJECT_PUBLISH_RATE",
        default_value_t = 250_000,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..)
    )]
    pub(crate) subject_publish_rate: u32,
    /// Bytes of events a second that one subject may publish on this node, 10 s of them at once; a token may set
    /// fewer. The default is 1 KiB for each event of the default --subject-publish-rate.
    #[arg(
        long,
        env = "TAILWATER_SUBJECT_PUBLISH_BYTES",
        default_value = "256MiB",
        value_name = "SIZE"
    )]
    pub(crate) subject_publish_bytes: Size,
    /// New topics an hour that one subject may begin on this node; a token may set fewer. The default is a topic for
    /// each of a million users, which a back end may begin after a start.
    #[arg(
        long,
        env = "TAILWATER_SUBJECT_NEW_TOPICS",
        default_value_t = 1_000_000,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..)
    )]
    pub(crate) subject_new_topics: u32,
}
