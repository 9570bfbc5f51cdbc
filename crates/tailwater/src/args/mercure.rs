//! The flags of a Mercure hub.

use clap::Args as ClapArgs;
use clap::builder::FalseyValueParser;

/// The flags of a Mercure hub, which must be the same on every node of a cluster.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Mercure")]
pub(crate) struct MercureArgs {
    /// Serve a Mercure hub at /.well-known/mercure. Its updates are in this space, which is declared by this flag.
    #[arg(
        long,
        env = "TAILWATER_MERCURE",
        value_name = "PREFIX/",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "mercure/"
    )]
    pub(crate) mercure: Option<String>,
    /// Public URL of the hub, against which relative topics and patterns are resolved.
    #[arg(
        long,
        env = "TAILWATER_MERCURE_URL",
        value_name = "URL",
        default_value = "http://localhost/.well-known/mercure"
    )]
    pub(crate) mercure_url: String,
    /// Let everybody subscribe to the updates of the hub that are not private, without a token.
    #[arg(
        long,
        env = "TAILWATER_MERCURE_ANONYMOUS",
        value_parser = FalseyValueParser::new()
    )]
    pub(crate) mercure_anonymous: bool,
    /// Take the token of a client of Mercure 0.x from the query, which proxies and browsers log.
    #[arg(
        long,
        env = "TAILWATER_MERCURE_QUERY_TOKENS",
        value_parser = FalseyValueParser::new()
    )]
    pub(crate) mercure_query_tokens: bool,
}
