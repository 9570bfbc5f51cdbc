//! Explains a token: its parts, and the decision of a node with these flags.

use std::net::{Ipv4Addr, SocketAddr};

use access::{Credentials, Page, Right, Timestamp};
use anyhow::{Context as _, Result, bail};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::decode_header;
use metrics::{Label as _, Registry};
use serde_json::Value;

use super::read_token;
use crate::access_sources::AccessSources;
use crate::args::ExplainArgs;
use crate::client::printable;
use crate::config;

/// Reads a token and reports. Fails if a node would refuse it.
pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    let token = read_token()?;
    describe(&token)?;
    let has_keys = !args.access.auth_keys.is_empty()
        || args.access.auth_jwks.is_some()
        || args.access.auth_config.is_some()
        || args.access.auth_tokens.is_some();
    if !has_keys {
        report("decision", "unknown: give the flags of the node, such as --auth-keys FILE");
        return Ok(());
    }
    let mut warnings = Vec::new();
    let local = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let config = config::access(&args.access, &local, true, &mut warnings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime did not start")?;
    runtime.block_on(decide(config, &token))
}

/// Shows the parts of a token. Nothing of them is verified.
fn describe(token: &str) -> Result<()> {
    match token.split('.').count() {
        3 => {}
        5 => bail!("this is an encrypted token: its issuer must send a signed one"),
        _ => bail!(
            "this is an opaque token, no JSON Web Token: ask its issuer for one with an audience"
        ),
    }
    if let Ok(header) = decode_header(token) {
        let key = header.kid.map(|kid| format!(", kid {}", printable(&kid))).unwrap_or_default();
        report("header", &format!("alg {:?}{key}", header.alg));
    } else {
        report("header", "not readable: a JSON object with a supported alg is expected");
    }
    let Ok(Value::Object(claims)) = insecure_decode_claims::<Value>(token) else {
        bail!("the claims are no JSON object");
    };
    for (name, value) in &claims {
        report(&printable(name), &printable(&value.to_string()));
    }
    if let Some(end) = claims.get("exp").and_then(Value::as_f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for a person")]
        let end = Timestamp::from_seconds(end.max(0.0) as u64);
        let left = end.after(Timestamp::now()).as_secs();
        report("life", &format!("until {end}, {left} s from now"));
    }
    Ok(())
}

async fn decide(config: config::AccessConfig, token: &str) -> Result<()> {
    let sources = AccessSources::open(config, &Registry::new())?;
    let header = format!("Bearer {token}");
    let credentials: Credentials =
        sources.access.credentials(Some(header.as_bytes()), &[], None, Page::Allowed);
    match sources.access.admit(&credentials).await {
        Ok(grant) => {
            report("decision", "accepted");
            report("subject", &printable(grant.principal().subject().unwrap_or_default()));
            for right in [Right::Subscribe, Right::Publish, Right::End] {
                let patterns = grant.patterns(right);
                let list =
                    if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(", ") };
                report(right.as_str(), &list);
            }
            report("history", &grant.history().to_string());
            if grant.is_admin() {
                report("admin", "may revoke the rights of others");
            }
            Ok(())
        }
        Err(denied) => {
            bail!("refused ({}): {denied}{}", denied.reason.as_str(), sources.hint(token))
        }
    }
}

fn report(subject: &str, finding: &str) {
    println!("{subject:<12} {finding}");
}
