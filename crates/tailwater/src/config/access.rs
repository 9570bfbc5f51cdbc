//! The sources of rights, as the flags name them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use access::{Config, IssuerConfig, OneOrMany, Patterns, Plan, Rights};
use anyhow::{Context as _, Result, bail, ensure};

use super::listen;
use crate::args::AccessArgs;
use crate::secret::TextFile;

/// The access to a node.
#[derive(Debug)]
pub(crate) enum AccessConfig {
    /// Everybody may do everything.
    Open,
    /// Everybody may do some things, and credentials grant more.
    Closed(Box<ClosedConfig>),
}

/// The sources of rights.
#[derive(Debug)]
pub(crate) struct ClosedConfig {
    pub(crate) everybody: Rights,
    pub(crate) plans: Vec<Plan>,
    pub(crate) machines: Option<TextFile>,
    pub(crate) ticket_keys: Option<TextFile>,
    /// True if a node without `ticket_keys` makes a key of its own: there is no other node.
    pub(crate) is_alone: bool,
    pub(crate) cookie: String,
}

/// The largest file of a configuration or of machines, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The largest file of keys, in bytes.
const KEYS_BYTES_MAX: u64 = access::KEYS_BYTES_MAX as u64;

/// Reads the flags. A node that other machines reach must say who may come in.
pub(crate) fn access(
    args: &AccessArgs,
    listen: &[SocketAddr],
    is_alone: bool,
    warnings: &mut Vec<String>,
) -> Result<AccessConfig> {
    let has_issuer =
        !args.auth_keys.is_empty() || args.auth_jwks.is_some() || args.auth_config.is_some();
    ensure_together(args, has_issuer)?;
    // An environment variable that is set to nothing is one empty text.
    let anonymous: Vec<_> = args.anonymous.iter().filter(|text| !text.is_empty()).collect();
    if !has_issuer && args.auth_tokens.is_none() && anonymous.is_empty() {
        if listen::are_local(listen) {
            warnings.push(
                "no token is needed: everybody on this machine may read, publish to and end every topic \
                 (docs/security.md)"
                    .to_owned(),
            );
            return Ok(AccessConfig::Open);
        }
        bail!(
            "--listen {} is reached by other machines, so say who may come in: --auth-keys FILE or \
             --auth-jwks URL demands tokens, and --anonymous 'subscribe=**' (and 'publish=**') lets \
             everybody in",
            listen::shown(listen)
        );
    }
    let everybody = everybody(&anonymous)?;
    let plans = if has_issuer { plans(args)? } else { Vec::new() };
    for plan in &plans {
        for file in &plan.files {
            let file = key_file(file);
            if has_secret(&file.read()?) {
                warnings.extend(file.warning().with_context(|| file.to_string())?);
            }
        }
    }
    let mut file = |flag, path: &Option<PathBuf>| {
        let Some(path) = path else { return Ok(None) };
        let file = TextFile::new(flag, path, FILE_BYTES_MAX);
        file.read()?;
        warnings.extend(file.warning().with_context(|| file.to_string())?);
        anyhow::Ok(Some(file))
    };
    Ok(AccessConfig::Closed(Box::new(ClosedConfig {
        everybody,
        plans,
        machines: file("--auth-tokens", &args.auth_tokens)?,
        ticket_keys: file("--ticket-keys", &args.ticket_keys)?,
        is_alone,
        cookie: cookie(&args.auth_cookie)?,
    })))
}

/// A file of keys, for reading.
pub(crate) fn key_file(path: &Path) -> TextFile {
    TextFile::new("--auth-config or --auth-keys", path, KEYS_BYTES_MAX)
}

/// Returns true if a file of keys may hold a secret. Public keys are for everybody.
fn has_secret(text: &str) -> bool {
    let is_json = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    !text.contains("-----BEGIN") && (!is_json || text.contains("\"oct\""))
}

/// Refuses flags that mean nothing without others, or contradict them.
fn ensure_together(args: &AccessArgs, has_issuer: bool) -> Result<()> {
    let of_one = [
        ("--auth-keys", !args.auth_keys.is_empty()),
        ("--auth-jwks", args.auth_jwks.is_some()),
        ("--auth-issuer", !given(&args.auth_issuer).is_empty()),
        ("--auth-audience", !given(&args.auth_audience).is_empty()),
        ("--auth-algorithms", !given(&args.auth_algorithms).is_empty()),
    ];
    for (flag, is_given) in of_one {
        if let (true, Some(file)) = (is_given, &args.auth_config) {
            bail!("{flag} describes one issuer, and --auth-config {} all of them", file.display());
        }
        ensure!(!is_given || has_issuer, "{flag} needs --auth-keys or --auth-jwks");
    }
    if let (false, true, Some(file)) = (has_issuer, args.auth_tokens.is_none(), &args.ticket_keys) {
        bail!("--ticket-keys {} needs --auth-keys, --auth-jwks or --auth-config", file.display());
    }
    Ok(())
}

fn plans(args: &AccessArgs) -> Result<Vec<Plan>> {
    let config = match &args.auth_config {
        Some(path) => {
            let file = TextFile::new("--auth-config", path, FILE_BYTES_MAX);
            Config::parse(&file.read()?).with_context(|| file.to_string())?
        }
        None => {
            let mut one = IssuerConfig::default();
            one.issuer = OneOrMany(given(&args.auth_issuer));
            one.jwks.clone_from(&args.auth_jwks);
            one.keys.clone_from(&args.auth_keys);
            one.audience = OneOrMany(given(&args.auth_audience));
            one.algorithms = given(&args.auth_algorithms);
            Config::of(one)
        }
    };
    let flag =
        if args.auth_config.is_some() { "--auth-config" } else { "--auth-jwks, --auth-keys" };
    let mut plans = config.plans(&args.auth_claim).context(flag)?;
    // A file that the configuration names stands beside it, unless its path is absolute.
    let beside = args.auth_config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    for plan in &mut plans {
        for file in &mut plan.files {
            *file = beside.join(&*file);
        }
        if let Some(url) = &plan.jwks {
            crate::jwks::check_url(url).context(flag)?;
        }
    }
    Ok(plans)
}

/// The texts of a flag. An environment variable that is set to nothing is one empty text.
fn given(texts: &[String]) -> Vec<String> {
    texts.iter().filter(|text| !text.is_empty()).cloned().collect()
}

fn everybody(anonymous: &[&String]) -> Result<Rights> {
    let of = |right: &str| {
        let prefix = format!("{right}=");
        let list = anonymous.iter().filter_map(|text| text.strip_prefix(&prefix));
        Patterns::new(list).with_context(|| format!("--anonymous {right}"))
    };
    for text in anonymous {
        let right = text.split_once('=').map(|(right, _)| right);
        ensure!(
            matches!(right, Some("subscribe" | "publish" | "end" | "presence")),
            "--anonymous {text:?}; it must be subscribe=PATTERN, publish=PATTERN, end=PATTERN or \
             presence=PATTERN"
        );
        ensure!(
            !text.contains("{sub}"),
            "--anonymous {text:?}: nobody has a subject without a token"
        );
    }
    Ok(Rights {
        subscribe: of("subscribe")?,
        publish: of("publish")?,
        end: of("end")?,
        presence: of("presence")?,
    })
}

/// Checks the name of a cookie (RFC 6265, 4.1.1).
fn cookie(name: &str) -> Result<String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    ensure!(
        !name.is_empty() && name.len() <= 64 && name.bytes().all(is_token),
        "--auth-cookie is {name:?}; it must be the name of a cookie, at most 64 bytes"
    );
    Ok(name.to_owned())
}
