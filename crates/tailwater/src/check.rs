//! `tailwater check`: what a configuration would do, without doing it; or how a running node fares.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use redis_log::RedisLog;

use crate::args::CheckArgs;
use crate::client;
use crate::config::{NodeConfig, Store};

/// The longest that a running node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Checks and reports on standard output; an error if anything would not work.
pub(crate) fn run(args: CheckArgs) -> Result<()> {
    match args.url {
        Some(url) => client::run(ask(url)),
        None => {
            let config = NodeConfig::try_from(args.serve)?;
            config.telemetry.check()?;
            client::run(look_over(config))
        }
    }
}

async fn ask(url: String) -> Result<()> {
    let url = format!("{}/readyz", url.trim_end_matches('/'));
    let request = client::http()?.get(&url).timeout(ANSWER_MAX);
    let response =
        request.send().await.map_err(reqwest::Error::without_url).context(url.clone())?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("{url}: {status}: {}", body.trim());
    }
    report("ready", body.trim());
    Ok(())
}

async fn look_over(config: NodeConfig) -> Result<()> {
    report("node", &config.telemetry.node);
    report("listen", &config.listen.to_string());
    report("admin", &config.admin_listen.to_string());
    if let Some(files) = &config.tls {
        let pair = files.pair(&files.read()?)?;
        report("tls", &format!("certificate until {}", pair.not_after));
    }
    if let Some(gateway) = config.services.gateway() {
        report(
            "connections",
            &format!("at most {}, {} topics each", gateway.max_connections, gateway.max_topics),
        );
        let shown = humantime::format_duration;
        report("heartbeat", &shown(gateway.heartbeat).to_string());
        report(
            "rotation",
            &format!("after {}, retry {}", shown(gateway.max_age), shown(gateway.retry)),
        );
    }
    if let Some(ingest) = config.services.ingest() {
        report("events", &format!("at most {} bytes each", ingest.event_bytes_max));
    }
    match config.store {
        Store::Memory(retention) => {
            report("log", "embedded: in memory, for this one node, gone when it stops");
            report("history", &history(&retention));
        }
        Store::Redis(redis) => {
            report("log", &redis.url.to_string());
            report("history", &history(&redis.retention));
            report("durability", &redis.durability.to_string());
            let log = RedisLog::connect(*redis).await?;
            report("redis", "answers, and is new enough");
            log.shutdown().await;
        }
    }
    report("result", "fine");
    Ok(())
}

fn history(retention: &event_log::Retention) -> String {
    let shown = humantime::format_duration;
    format!(
        "{} events or {} of a topic, numbering for {}, keys for {}",
        retention.events,
        shown(retention.age),
        shown(retention.topic),
        shown(retention.key)
    )
}

fn report(what: &str, finding: &str) {
    println!("{what:<12} {finding}");
}
