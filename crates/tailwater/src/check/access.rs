//! The access to a node: who may come in, with which keys, and what should not stay as it is.

use std::sync::Arc;

use access::{Fetch as _, Issuer, Key, Machines, Plan, Right, TicketKeys, parse_set};
use anyhow::{Context as _, Result, anyhow};

use crate::access_sources::read_keys;
use crate::client::printable;
use crate::config::{AccessConfig, ClosedConfig, NodeConfig, are_local};
use crate::jwks::Https;

/// A line of the report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A part of the configuration.
    Plain(String),
    /// Works, but should not stay as it is.
    Warning(String),
}

/// Describes the access to a node, and fetches its key sets.
///
/// # Errors
/// A file or a key set cannot be used.
pub(super) async fn findings(config: &NodeConfig) -> Result<Vec<Finding>> {
    let AccessConfig::Closed(closed) = &config.access else {
        let open = "open: everybody on this machine may do everything".to_owned();
        return Ok(vec![Finding::Plain(open)]);
    };
    let mut found = of_everybody(closed);
    for plan in &closed.plans {
        found.extend(of_issuer(plan).await?);
    }
    if let Some(file) = &closed.machines {
        let machines = Machines::parse(&file.read()?, &Arc::default());
        let count = machines.with_context(|| file.to_string())?.len();
        found.push(Finding::Plain(format!("{count} tokens of machines")));
    }
    found.push(Finding::Plain(tickets(closed)?));
    let brings_tokens = !closed.plans.is_empty() || closed.machines.is_some();
    if config.tls.is_none() && !are_local(&config.listen) && brings_tokens {
        found.push(Finding::Warning(
            "without TLS here or in front, tokens can be read on the way, and browsers keep no cookie"
                .to_owned(),
        ));
    }
    Ok(found)
}

fn of_everybody(closed: &ClosedConfig) -> Vec<Finding> {
    let rights = [Right::Subscribe, Right::Publish, Right::End, Right::Presence].into_iter();
    let lists = rights.map(|right| {
        let patterns = closed.everybody.of(right).iter().map(ToString::to_string);
        (right, patterns.collect::<Vec<_>>())
    });
    let given = lists.filter(|(_, patterns)| !patterns.is_empty());
    given
        .map(|(right, patterns)| {
            Finding::Plain(format!("everybody may {} {}", right.as_str(), patterns.join(", ")))
        })
        .collect()
}

async fn of_issuer(plan: &Plan) -> Result<Vec<Finding>> {
    let issuer = &plan.issuer;
    let named = if issuer.names.is_empty() { "any".to_owned() } else { issuer.names.join(", ") };
    let mut found = Vec::new();
    if issuer.audience.is_empty() {
        found.push(Finding::Plain(format!("tokens of issuer {named} for any audience")));
        found.push(Finding::Warning(format!(
            "issuer {named} has no audience: tokens that it makes for other services are accepted too \
             (--auth-audience)"
        )));
    } else {
        let (audience, claim) = (issuer.audience.join(", "), &issuer.audience_claim);
        found.push(Finding::Plain(format!("tokens of issuer {named} for {audience} in {claim}")));
    }
    for key in read_keys(&plan.files)? {
        let algorithms = algorithms(&key, issuer);
        if algorithms.iter().any(|name| name.starts_with("HS")) {
            found.push(Finding::Warning(
                "a shared secret verifies tokens and makes them: whoever reads it from a node has every right; \
                 prefer ES256 or EdDSA"
                    .to_owned(),
            ));
        }
        found.push(described(&key, &algorithms));
    }
    if let Some(url) = &plan.jwks {
        let (text, _) = Https::new()?
            .fetch(url)
            .await
            .map_err(|error| anyhow!(error))
            .with_context(|| format!("the key set {url} cannot be fetched"))?;
        let (keys, left_out) =
            parse_set(&text).with_context(|| format!("the key set {url} cannot be used"))?;
        found.push(Finding::Plain(format!("{} keys of {url}", keys.len())));
        found.extend(keys.iter().map(|key| described(key, &algorithms(key, issuer))));
        let left_out = left_out.iter().map(|reason| printable(reason).into_owned());
        found.extend(left_out.map(|reason| Finding::Plain(format!("a key is left out: {reason}"))));
    }
    Ok(found)
}

/// The algorithms that a key verifies for an issuer.
fn algorithms(key: &Key, issuer: &Issuer) -> Vec<String> {
    let allowed = key.algorithms().iter().filter(|one| issuer.algorithms.contains(one));
    allowed.map(|one| format!("{one:?}")).collect()
}

fn described(key: &Key, algorithms: &[String]) -> Finding {
    let id = key.id().map(|id| format!(" {id:?}")).unwrap_or_default();
    match algorithms {
        [] => Finding::Warning(format!(
            "key{id} verifies none of the algorithms that this issuer may use"
        )),
        names => Finding::Plain(format!("key{id} for {}", names.join(", "))),
    }
}

/// # Errors
/// The file cannot be used.
fn tickets(closed: &ClosedConfig) -> Result<String> {
    let Some(file) = &closed.ticket_keys else {
        return Ok(match closed.is_alone {
            true => "tickets and stream cookies: by a key that this node makes at its start",
            false => "no tickets and no stream cookies: --ticket-keys is not given",
        }
        .to_owned());
    };
    let _keys = TicketKeys::parse(&file.read()?).with_context(|| file.to_string())?;
    Ok("tickets and stream cookies, which all nodes with this file accept".to_owned())
}
