//! `tailwater check`: validates a configuration without serving, or asks a running node whether it is
//! ready.

mod access;
mod bounds;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use redis_log::{KeyPrefix, ReadFrom, RedisLog};
use reqwest::Url;
use tokio::time::timeout;

use self::access::Finding;
use crate::args::{CheckArgs, CheckedRole};
use crate::client;
use crate::config::{NodeConfig, Store, shown};

/// The longest wait for a running node's response.
const RESPONSE_MAX: Duration = Duration::from_secs(3);

/// Checks and reports on standard output. Fails if a node would fail with this configuration.
pub(crate) fn run(args: CheckArgs) -> Result<()> {
    let config = match (args.url, args.role) {
        (Some(url), _) => return client::run(ask(url)),
        (None, Some(CheckedRole::Relay(relay))) => NodeConfig::try_from(*relay)?,
        (None, None) => NodeConfig::try_from(args.serve)?,
    };
    config.telemetry.check()?;
    client::run(validate(config))
}

async fn ask(url: String) -> Result<()> {
    let url = format!("{}/readyz", url.trim_end_matches('/'));
    let parsed = Url::parse(&url).with_context(|| url.clone())?;
    let request = client::http(&parsed)?.get(parsed).timeout(RESPONSE_MAX);
    let response =
        request.send().await.map_err(reqwest::Error::without_url).context(url.clone())?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("{url}: {status}: {}", body.trim());
    }
    report("ready", &client::printable(body.trim()));
    Ok(())
}

async fn validate(config: NodeConfig) -> Result<()> {
    report("node", &config.telemetry.node);
    report("listen", &shown(&config.listen));
    report("admin", &shown(&config.admin_listen));
    for warning in &config.warnings {
        report("warning", warning);
    }
    if let Some(files) = &config.tls {
        report("tls", &files.check()?);
    }
    for finding in access::findings(&config).await? {
        match finding {
            Finding::Plain(text) => report("access", &text),
            Finding::Warning(text) => report("warning", &text),
        }
    }
    if let Some(gateway) = config.services.gateway() {
        report(
            "connections",
            &format!(
                "at most {} ({}), each with at most {} topics",
                gateway.max_connections,
                config.limits.rule_of(gateway.max_connections),
                gateway.max_topics
            ),
        );
        report(
            "quotas",
            &format!(
                "{} streams for one subject, on all nodes together, with {} topics on this node",
                gateway.subject_streams, gateway.subject_topics
            ),
        );
        report(
            "replays",
            &format!(
                "{} bytes a second for one subject, or one address without a token",
                gateway.replay_rate
            ),
        );
        if let Some(mercure) = &gateway.mercure {
            let (url, space) = (mercure.hub.url(), mercure.space.as_str());
            let anonymous = if mercure.is_anonymous_allowed { ", open to everybody" } else { "" };
            report("mercure", &format!("hub {url}, updates in {space}{anonymous}"));
        }
        let shown = humantime::format_duration;
        report("heartbeat", &shown(gateway.heartbeat).to_string());
        report(
            "rotation",
            &format!("after {}, retry {}", shown(gateway.max_age), shown(gateway.retry)),
        );
    }
    if let Some(ingest) = config.services.ingest() {
        report("events", &format!("at most {} bytes each", ingest.event_bytes_max));
        report("new topics", &format!("{} a second", ingest.new_topics));
        report(
            "quotas",
            &format!(
                "{} events and {} bytes a second, and {} new topics an hour, for one subject on this node",
                ingest.subject_publish_rate,
                ingest.subject_publish_bytes,
                ingest.subject_new_topics
            ),
        );
    }
    report("limits", &format!("one address may take {} of each", config.limits.share));
    println!("{}", bounds::table(&config));
    check_store(config.store).await?;
    if let Some(relay) = config.services.relay() {
        check_upstream(relay).await?;
    }
    report("result", "ok");
    Ok(())
}

/// Reports the upstream, and asks it for the head of its base: any status will do.
async fn check_upstream(relay: &relay::Config) -> Result<()> {
    let url = &relay.upstream;
    report("upstream", url.as_str());
    let asked = timeout(RESPONSE_MAX, relay::probe(relay)).await;
    let asked =
        asked.with_context(|| format!("--upstream {url}: no answer in {RESPONSE_MAX:?}"))?;
    let status = asked.with_context(|| format!("--upstream {url}"))?;
    report("upstream", &format!("reachable, answers {status}"));
    Ok(())
}

/// Reports the log, and connects to it.
async fn check_store(store: Store) -> Result<()> {
    match store {
        Store::Memory(retention, spaces) => {
            report("log", "embedded: in the memory of this node, lost when it stops");
            report_spaces(&spaces);
            report("history", &history(&retention));
        }
        Store::Redis(redis, _) => {
            report("log", &redis.url.to_string());
            if redis.prefix != KeyPrefix::default() {
                report("prefix", &format!("every key and channel begins with {}:", redis.prefix));
            }
            report_spaces(&redis.spaces);
            report("history", &history(&redis.retention));
            report("durability", &redis.durability.to_string());
            let reads_primaries = redis.read_from == ReadFrom::Primary;
            let log = RedisLog::connect(*redis).await?;
            report("redis", "reachable, version supported");
            if !reads_primaries {
                for source in log.sources().await? {
                    report("reads", &source);
                }
            }
            log.shutdown().await;
        }
    }
    Ok(())
}

fn report_spaces(spaces: &event_log::Spaces) {
    if !spaces.is_empty() {
        report("spaces", &spaces.to_string());
    }
}

fn history(retention: &event_log::Retention) -> String {
    let shown = humantime::format_duration;
    format!(
        "at most {} events per topic and {} per space, for {}; numbering for {}, idempotency keys for {}",
        retention.events,
        retention.space_events,
        shown(retention.age),
        shown(retention.topic),
        shown(retention.key)
    )
}

fn report(subject: &str, finding: &str) {
    println!("{subject:<12} {finding}");
}
