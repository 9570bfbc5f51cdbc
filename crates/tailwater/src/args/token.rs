//! The command `token`: keys and tokens for trying out.

use std::path::PathBuf;
use std::time::Duration;

use access::ALGORITHMS;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use humantime::parse_duration;
use jsonwebtoken::Algorithm;

use super::AccessArgs;

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a key: a private key for mint, and the file for --auth-keys beside it.
    Key(KeyArgs),
    /// Sign a token and print it.
    Mint(Box<MintArgs>),
    /// Read a token from standard input or a file and say what it grants, or why it is refused.
    Explain(Box<ExplainArgs>),
    /// Read the token of a machine from standard input or a file and print its hash for --auth-tokens.
    Hash(TokenSource),
}

/// The signature of a token that is made for trying out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// An elliptic curve (P-256)
    Es256,
    /// Ed25519
    Eddsa,
    /// A secret that the node has, too
    Hs256,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct KeyArgs {
    /// Signature of the tokens.
    #[arg(long, default_value = "es256")]
    pub(crate) algorithm: KeyKind,
    /// File for the private key; the public key goes to FILE.pub. A secret is one file for both.
    #[arg(long, default_value = "tailwater.key", value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct MintArgs {
    /// File with the private key in PEM (PKCS#8) or the secret.
    #[arg(long, env = "TAILWATER_TOKEN_KEY", default_value = "tailwater.key", value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Subject: the user or machine that the token is for.
    #[arg(long, value_name = "NAME")]
    pub(crate) sub: String,
    /// Topics to read, such as 'news/**' or 'user/{sub}'; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subscribe: Vec<String>,
    /// Topics to publish to; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) publish: Vec<String>,
    /// Topics to end; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) end: Vec<String>,
    /// Topics whose members to see; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) presence: Vec<String>,
    /// History to read: all, none, or a time such as 30m.
    #[arg(long, value_name = "EXTENT")]
    pub(crate) history: Option<String>,
    /// Allow to revoke the rights of others.
    #[arg(long)]
    pub(crate) admin: bool,
    /// Life of the token.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub(crate) expires: Duration,
    /// Value of the claim iss.
    #[arg(long, value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    /// Value of the claim aud.
    #[arg(long, value_name = "AUDIENCE")]
    pub(crate) audience: Option<String>,
    /// Id of the token, by which it can be revoked.
    #[arg(long, value_name = "ID")]
    pub(crate) jti: Option<String>,
    /// Signature, such as RS512 [default: the first that goes with the key, as ES256 or HS256].
    #[arg(long, value_name = "ALG", value_parser = algorithm)]
    pub(crate) algorithm: Option<Algorithm>,
    /// Id of the key, in the header.
    #[arg(long, value_name = "ID")]
    pub(crate) kid: Option<String>,
    /// Claim that holds the rights.
    #[arg(long, default_value = "tailwater", value_name = "NAME")]
    pub(crate) claim: String,
}

/// The place from which a command reads a token: never an argument, because those show in the list of processes.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct TokenSource {
    /// File with the token; without it the token is read from standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    ALGORITHMS.into_iter().find(|one| format!("{one:?}") == name).ok_or_else(|| {
        let all: Vec<_> = ALGORITHMS.iter().map(|one| format!("{one:?}")).collect();
        format!("choose among {}", all.join(", "))
    })
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) source: TokenSource,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}
