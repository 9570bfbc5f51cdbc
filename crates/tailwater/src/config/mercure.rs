//! The configuration of a Mercure hub.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use mercure::{Hub, Settings, Space};

use super::{AccessConfig, NodeConfig};
use crate::args::{LogArgs, MercureArgs};

/// Reads the flags, and declares the hub's space.
pub(super) fn hub(args: &MercureArgs, log: &mut LogArgs) -> Result<Option<Arc<Settings>>> {
    // An environment variable that is set to nothing is an empty text.
    let Some(prefix) = args.mercure.as_deref().filter(|prefix| !prefix.is_empty()) else {
        for (flag, is_given) in [
            ("--mercure-anonymous", args.mercure_anonymous),
            ("--mercure-query-tokens", args.mercure_query_tokens),
        ] {
            if is_given {
                bail!("{flag} needs --mercure");
            }
        }
        return Ok(None);
    };
    let space = Space::new(prefix).context("--mercure")?;
    let hub = Hub::new(&args.mercure_url).context("--mercure-url")?;
    ensure!(
        hub.path() == Hub::PATH,
        "--mercure-url is {}; its path must be {}",
        args.mercure_url,
        Hub::PATH
    );
    log.space.push(prefix.to_owned());
    Ok(Some(Arc::new(Settings {
        hub,
        space,
        is_anonymous_allowed: args.mercure_anonymous,
        is_query_token_allowed: args.mercure_query_tokens,
    })))
}

/// Adds the warnings about a hub.
pub(super) fn with_warnings(mut config: NodeConfig, hub: Option<&Settings>) -> NodeConfig {
    let Some(settings) = hub else { return config };
    if settings.is_query_token_allowed {
        let warning = "--mercure-query-tokens takes tokens from the query: proxies, servers and browsers log them";
        config.warnings.push(warning.to_owned());
    }
    let space = format!("{}**", settings.space.as_str());
    if let AccessConfig::Closed(closed) = &config.access {
        let reads = &closed.everybody.subscribe;
        if reads.iter().any(|pattern| overlaps(pattern.as_str(), settings.space.as_str())) {
            config.warnings.push(format!(
                "--anonymous lets everybody subscribe to topics of {space} at /v1/events, private updates of the hub \
                 included; --mercure-anonymous is for public ones"
            ));
        }
    }
    config
}

/// Returns true if a pattern may match a topic of a space: its segments go with those of the prefix, as far as both have some.
fn overlaps(pattern: &str, prefix: &str) -> bool {
    let (mut pattern, prefix) = (pattern.split('/'), prefix.trim_end_matches('/').split('/'));
    for segment in prefix {
        match pattern.next() {
            Some("**") => return true,
            Some(wanted) if wanted == "*" || wanted == segment => {}
            _ => return false,
        }
    }
    pattern.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::overlaps;

    #[test]
    fn patterns_that_may_match_a_topic_of_a_space() {
        for pattern in ["**", "mercure/**", "mercure/a", "*/a", "*/**"] {
            assert!(overlaps(pattern, "mercure/"), "{pattern}");
        }
        for pattern in ["*", "mercure", "news/**", "mercurex/**"] {
            assert!(!overlaps(pattern, "mercure/"), "{pattern}");
        }
        assert!(
            overlaps("a/**", "a/b/") && overlaps("a/b/c", "a/b/") && !overlaps("a/c/**", "a/b/")
        );
    }
}
