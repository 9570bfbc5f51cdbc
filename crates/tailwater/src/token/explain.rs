//! Explains a token: its parts, and the decision of a node with these flags.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use access::{Credentials, Issuer, Page, Plan, Right, Timestamp};
use anyhow::{Context as _, Result, bail};
use humantime::format_duration;
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
    let token = read_token(&args.source)?;
    let name = describe(&token)?;
    let has_keys = !args.access.auth_keys.is_empty()
        || args.access.auth_jwks.is_some()
        || args.access.auth_config.is_some()
        || args.access.auth_tokens.is_some();
    if !has_keys {
        // Some tokens are refused by every node, whatever its flags.
        if let Some(hint) = access::Tokens::default().hint(&token) {
            bail!("every node would refuse it: {hint}");
        }
        report("decision", "unknown: give the flags of the node, such as --auth-keys FILE");
        return Ok(());
    }
    // The reason why a key set cannot be fetched, and keys that are left out.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN);
    log.with_writer(std::io::stderr).without_time().with_target(false).with_ansi(false).init();
    let mut warnings = Vec::new();
    let local = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let config = config::access(&args.access, &local, true, &mut warnings)?;
    for warning in warnings {
        eprintln!("{warning}");
    }
    if let config::AccessConfig::Closed(closed) = &config {
        show_rules(&closed.plans, name.as_deref());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime did not start")?;
    runtime.block_on(decide(config, &token))
}

/// Shows the parts of a token, and returns the name of its issuer. Nothing of them is verified.
fn describe(token: &str) -> Result<Option<String>> {
    match token.split('.').count() {
        3 => {}
        5 => bail!("this is an encrypted token: its issuer must send a signed one"),
        _ => bail!(
            "this is an opaque token, no JSON Web Token: ask its issuer for one with an audience"
        ),
    }
    if let Ok(header) = decode_header(token) {
        let part = |name: &str, value: Option<String>| {
            value.map(|text| format!(", {name} {}", printable(&text))).unwrap_or_default()
        };
        let (key, kind) = (part("kid", header.kid), part("typ", header.typ));
        report("header", &format!("alg {:?}{key}{kind}", header.alg));
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
        let (now, shown) = (Timestamp::now(), |time| format_duration(whole_seconds(time)));
        let life = match end > now {
            true => format!("until {end}, {} from now", shown(end.after(now))),
            false => format!("over since {end}, for {}", shown(now.after(end))),
        };
        report("life", &life);
    }
    Ok(claims.get("iss").and_then(Value::as_str).map(str::to_owned))
}

const fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// Shows the rules for the tokens of an issuer, those that a preset has filled in included.
fn show_rules(plans: &[Plan], name: Option<&str>) {
    let is_named =
        |plan: &&Plan| name.is_some_and(|name| plan.issuer.names.iter().any(|one| one == name));
    let nameless = |plan: &&Plan| plan.issuer.names.is_empty();
    let found = plans.iter().find(is_named).or_else(|| plans.iter().find(nameless));
    let only = if let [only] = plans { Some(only) } else { None };
    let Some(plan) = found.or(only) else {
        report("rules", "none: no issuer of the configuration has this iss");
        return;
    };
    let Issuer { names, audience, audience_claim, algorithms, required, types, subject, .. } =
        &plan.issuer;
    let any = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(", ") };
    report("rules", &format!("iss: {}", any(names)));
    report("", &format!("{audience_claim}: {}", any(audience)));
    for (claim, values) in required {
        report("", &format!("{claim}: {}", values.join(", ")));
    }
    if !types.is_empty() {
        report("", &format!("typ of the header: {}", types.join(", ")));
    }
    let names: Vec<_> = algorithms.iter().map(|one| format!("{one:?}")).collect();
    report("", &format!("algorithms: {}", names.join(", ")));
    let files = plan.files.iter().map(|path| path.display().to_string());
    let keys: Vec<_> = plan.jwks.iter().cloned().chain(files).collect();
    report("", &format!("keys: {}", keys.join(", ")));
    let mut sources = vec![format!("claim {}", plan.issuer.grants)];
    let mapped = plan.issuer.mapped.iter();
    sources.extend(mapped.map(|one| format!("{} of {}", one.value, one.claim)));
    report("", &format!("subject: claim {subject}; rights: {}", sources.join(", ")));
    report("", &format!("max-life: {}", plan.issuer.life_text()));
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
            for right in [Right::Subscribe, Right::Publish, Right::End, Right::Presence] {
                let patterns = grant.patterns(right);
                let list =
                    if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(", ") };
                report(right.as_str(), &list);
            }
            report("history", &grant.history().to_string());
            report("quotas", &quotas(&serde_json::to_value(grant.quotas())?));
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

/// The bounds that a token sets, as `streams 48, publish_rate 100`.
fn quotas(set: &Value) -> String {
    let set = set.as_object().into_iter().flatten();
    let set: Vec<_> = set.map(|(name, most)| format!("{name} {most}")).collect();
    if set.is_empty() { "those of the node".to_owned() } else { set.join(", ") }
}

fn report(subject: &str, finding: &str) {
    println!("{subject:<12} {finding}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_bounds_of_a_token_are_named() {
        assert_eq!(
            quotas(&json!({ "publish_rate": 5, "streams": 48 })),
            "publish_rate 5, streams 48"
        );
        assert_eq!(quotas(&json!({})), "those of the node");
    }
}
