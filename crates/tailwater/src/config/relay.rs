//! The configuration of a relay.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use event_log::Topic;
use relay::{Detached, Url};

use super::access::FILE_BYTES_MAX;
use super::{
    EVENT_COPIES, Limits, NodeConfig, Services, cors, drain, gateway_config, store, within,
};
use crate::args::{AnswerArgs, NodeArgs, RelayArgs, SourceArgs};
use crate::secret::TextFile;

impl TryFrom<RelayArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(args: RelayArgs) -> Result<Self> {
        let limits = Limits::new(&args.limits)?;
        let drain = drain(&args.node, Some(&args.subscribers));
        let answers = args.answers.upstream.as_deref().map(|upstream| {
            let config = relay_config(upstream, &args.answers, &args.node, &limits)?;
            Ok::<_, anyhow::Error>(Box::new(config))
        });
        let services = Services::Relay {
            gateway: gateway_config(&args.subscribers, &args.node, &args.access, &limits, false)?,
            answers: answers.transpose()?,
            sources: sources(&args.sources)?,
        };
        let mut warnings = Vec::new();
        let (durability, read_from) = (args.answers.durability, args.read.read_from.clone());
        let store =
            store(args.redis.as_deref(), &args.log, (durability, read_from), &mut warnings)?;
        let answer = Topic::new(::relay::TOPICS).expect("it is a topic");
        ensure!(
            args.answers.upstream.is_none() || !store.spaces().has(&answer),
            "--space has the topics {}: each answer is a topic that ends, and topics in a space have no end",
            ::relay::TOPICS
        );
        let (node, access) = (&args.node, &args.access);
        Self::of(services, store, drain, limits, args.addresses, (node, access), warnings)
    }
}

/// Reads the sources.
fn sources(args: &SourceArgs) -> Result<sources::Config> {
    let SourceArgs { config, source, source_topic } = args;
    if let Some(path) = config {
        let file = TextFile::new("--config", path, FILE_BYTES_MAX);
        let config = sources::Config::parse(&file.read()?).with_context(|| file.to_string())?;
        ensure!(!config.is_empty(), "{file} has no source");
        return Ok(config);
    }
    match (source, source_topic) {
        (Some(url), Some(topic)) => {
            sources::Config::event_stream(url, topic).with_context(|| format!("--source {url}"))
        }
        _ => Ok(sources::Config::default()),
    }
}

fn relay_config(
    url: &str,
    args: &AnswerArgs,
    node: &NodeArgs,
    limits: &Limits,
) -> Result<relay::Config> {
    let upstream = upstream(url)?;
    let day = Duration::from_hours(24);
    within("--upstream-timeout", args.upstream_timeout, Duration::from_secs(1), day)?;
    if let Detached::For(time) = args.detached.0 {
        within("--detached", time, Duration::from_secs(1), day)?;
    }
    let event_bytes_max = args.event_bytes_max.0;
    ensure!(
        (1..=64 << 20).contains(&event_bytes_max),
        "--event-bytes-max is {}; it must be 1 to 64MiB",
        args.event_bytes_max
    );
    let max_answers = args.max_answers;
    ensure!(max_answers > 0, "--max-answers is {max_answers}; it must be at least 1");
    let ensure_holds = |thing: String, bytes: usize| {
        limits.ensure_holds(&thing, u64::try_from(bytes).unwrap_or(u64::MAX))
    };
    ensure_holds(
        format!("an event of --event-bytes-max {}", args.event_bytes_max),
        event_bytes_max.saturating_mul(EVENT_COPIES),
    )?;
    let request = args.request_bytes_max;
    ensure_holds(format!("a body of --request-bytes-max {request}"), request.0)?;
    Ok(relay::Config {
        scheme: if node.tls_cert.is_some() { "https" } else { "http" },
        detached: args.detached.0,
        answers_max: max_answers,
        event_bytes_max,
        request_bytes_max: args.request_bytes_max.0,
        silence_max: args.upstream_timeout,
        adapters: args.adapter.clone(),
        cors: cors(node)?,
        ..relay::Config::new(upstream)
    })
}

/// Checks the URL of the upstream.
fn upstream(text: &str) -> Result<Url> {
    let url = Url::parse(text).with_context(|| format!("--upstream {text}"))?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "--upstream {text}: it must begin with http:// or https://"
    );
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "--upstream {text}: it must have no query and no fragment"
    );
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "--upstream has a user or a password; clients send their own credentials"
    );
    Ok(url)
}
