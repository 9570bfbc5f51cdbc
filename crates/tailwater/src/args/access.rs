//! The flags that decide who may do what.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// The flags of every node that decide who may do what.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Keys that verify tokens: public keys in PEM, a JWK, a JWK set, or a secret of at least 32 bytes;
    /// a changed file is reloaded within 10s; may be repeated.
    #[arg(long, env = "TAILWATER_AUTH_KEYS", value_name = "FILE", value_delimiter = ',')]
    pub(crate) auth_keys: Vec<PathBuf>,
    /// Address of a JWK set with keys that verify tokens.
    #[arg(long, env = "TAILWATER_AUTH_JWKS", value_name = "URL")]
    pub(crate) auth_jwks: Option<String>,
    /// Accepted value of the claim iss, byte for byte; may be repeated.
    #[arg(long, env = "TAILWATER_AUTH_ISSUER", value_name = "ISSUER", value_delimiter = ',')]
    pub(crate) auth_issuer: Vec<String>,
    /// Accepted value of the claim aud, or any; may be repeated.
    #[arg(long, env = "TAILWATER_AUTH_AUDIENCE", value_name = "AUDIENCE", value_delimiter = ',')]
    pub(crate) auth_audience: Vec<String>,
    /// Accepted algorithms, such as ES256,EdDSA [default: all that the keys can verify].
    #[arg(long, env = "TAILWATER_AUTH_ALGORITHMS", value_name = "ALG,…", value_delimiter = ',')]
    pub(crate) auth_algorithms: Vec<String>,
    /// Several issuers, or a preset for a provider, in TOML (docs/security.md).
    #[arg(long, env = "TAILWATER_AUTH_CONFIG", value_name = "FILE")]
    pub(crate) auth_config: Option<PathBuf>,
    /// Tokens of machines: a line each, with the SHA-256 of the token, its subject and its rights
    /// (tailwater token hash makes one).
    #[arg(long, env = "TAILWATER_AUTH_TOKENS", value_name = "FILE")]
    pub(crate) auth_tokens: Option<PathBuf>,
    /// Claim that holds the rights.
    #[arg(long, env = "TAILWATER_AUTH_CLAIM", default_value = "tailwater", value_name = "NAME")]
    pub(crate) auth_claim: String,
    /// Cookie that holds a token or a stream cookie.
    #[arg(
        long,
        env = "TAILWATER_AUTH_COOKIE",
        default_value = "__Host-tailwater",
        value_name = "NAME"
    )]
    pub(crate) auth_cookie: String,
    /// Keys of tickets and stream cookies, the same file on all nodes: one key a line, newest first, each
    /// the base64 of 32 random bytes (openssl rand -base64 32); a changed file is reloaded within 10s.
    #[arg(long, env = "TAILWATER_TICKET_KEYS", value_name = "FILE")]
    pub(crate) ticket_keys: Option<PathBuf>,
    /// Rights that need no token: subscribe=PATTERN, publish=PATTERN, end=PATTERN or presence=PATTERN,
    /// such as subscribe=news/**; may be repeated.
    #[arg(long, env = "TAILWATER_ANONYMOUS", value_name = "RIGHT=PATTERN", value_delimiter = ',')]
    pub(crate) anonymous: Vec<String>,
    /// Name subjects by a hash in the logs of connections.
    #[arg(
        long,
        env = "TAILWATER_HASH_SUBJECTS",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub(crate) hash_subjects: bool,
}
