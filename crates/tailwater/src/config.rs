//! Converts arguments into the configuration of a node. Flags that contradict each other are refused,
//! with the names of both.

mod access;
mod limits;
mod listen;
mod mercure;
mod relay;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ::access::{Patterns, Revocations};
use anyhow::{Context as _, Result, bail, ensure};
use cors::SiteRules;
use event_log::{Retention, Spaces};
use redis_log::{Durability, ReadFrom};
use tokio_util::sync::CancellationToken;

use crate::args::{
    AccessArgs, AddressArgs, GatewayArgs, IngestArgs, LogArgs, NodeArgs, PublisherArgs, RedisArgs,
    ServeArgs, Size, SubscriberArgs,
};
pub(crate) use crate::config::access::{AccessConfig, ClosedConfig, access, key_file};
pub(crate) use crate::config::limits::Limits;
pub(crate) use crate::config::listen::{are_local, shown};
use crate::debug_gate::DebugGate;
use crate::redis_source::RedisSource;
use crate::secret::SecretFile;
use crate::telemetry::{Otel, TelemetryConfig};
use crate::tls;

/// Everything that a node needs to run.
#[derive(Debug)]
pub(crate) struct NodeConfig {
    pub(crate) services: Services,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) admin_listen: Vec<SocketAddr>,
    pub(crate) sites: Sites,
    pub(crate) access: AccessConfig,
    pub(crate) limits: Limits,
    pub(crate) debug: DebugGate,
    /// Things that work but should not stay as they are, for the log.
    pub(crate) warnings: Vec<String>,
    pub(crate) store: Store,
    pub(crate) drain: Drain,
    pub(crate) tls: Option<tls::Files>,
    pub(crate) telemetry: TelemetryConfig,
}

/// The requests that a node answers at all, by the port that they come to.
#[derive(Debug)]
pub(crate) struct Sites {
    pub(crate) public: SiteRules,
    pub(crate) admin: SiteRules,
}

/// The services of a node, of which there is at least one.
#[derive(Debug)]
pub(crate) enum Services {
    Gateway(gateway::Config),
    Ingest(ingest::Config),
    Both(gateway::Config, ingest::Config),
    Relay {
        gateway: gateway::Config,
        /// The proxy in front of an upstream, unless the node only copies sources.
        answers: Option<Box<::relay::Config>>,
        sources: sources::Config,
    },
}

/// The store of the events.
#[derive(Debug)]
pub(crate) enum Store {
    /// In this process.
    Memory(Retention, Spaces),
    /// In Redis.
    Redis(Box<redis_log::Config>, RedisSource),
}

impl Store {
    /// The time for which events are kept.
    pub(crate) const fn retention(&self) -> &Retention {
        match self {
            Self::Memory(retention, _) => retention,
            Self::Redis(config, _) => &config.retention,
        }
    }

    /// The spaces.
    pub(crate) const fn spaces(&self) -> &Spaces {
        match self {
            Self::Memory(_, spaces) => spaces,
            Self::Redis(config, _) => &config.spaces,
        }
    }
}

/// The times and signals of a node's shutdown.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    pub(crate) delay: Duration,
    pub(crate) window: Duration,
    pub(crate) grace: Duration,
    /// Cancelled when the node is not ready any more.
    pub(crate) leaving: CancellationToken,
    /// Cancelled when ingest should end the bodies that publishers stream to it.
    pub(crate) streams: CancellationToken,
}

/// Room that ingest needs for an event, in copies of it: a buffer that grows doubles.
const EVENT_COPIES: usize = 2;
/// The least rate of replays, in bytes a second: one page for the quarter of a connection.
const REPLAY_RATE_MIN: usize = 1 << 20;

impl TryFrom<ServeArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(mut args: ServeArgs) -> Result<Self> {
        let hub = mercure::hub(&args.mercure, &mut args.log)?;
        let limits = Limits::new(&args.limits)?;
        let drain = drain(&args.node, Some(&args.subscribers));
        let services = Services::Both(
            gateway::Config {
                mercure: hub.clone(),
                ..gateway_config(&args.subscribers, &args.node, &args.access, &limits, true)?
            },
            ingest::Config {
                mercure: hub.clone(),
                ..ingest_config(&args.publishers, &args.node, &args.log, (&limits, &drain))?
            },
        );
        let mut warnings = Vec::new();
        let store = store(
            args.redis.as_deref(),
            &args.log,
            (args.publishers.durability, args.read.read_from.clone()),
            &mut warnings,
        )?;
        let (node, access) = (&args.node, &args.access);
        Self::of(services, store, drain, limits, args.addresses, (node, access), warnings)
            .map(|config| mercure::with_warnings(config, hub.as_deref()))
    }
}

impl TryFrom<GatewayArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(mut args: GatewayArgs) -> Result<Self> {
        let hub = mercure::hub(&args.mercure, &mut args.log)?;
        let limits = Limits::new(&args.limits)?;
        let drain = drain(&args.node, Some(&args.subscribers));
        let services = Services::Gateway(gateway::Config {
            mercure: hub.clone(),
            ..gateway_config(&args.subscribers, &args.node, &args.access, &limits, false)?
        });
        let mut warnings = Vec::new();
        let read_from = args.read.read_from.clone();
        let store =
            store(Some(&args.redis), &args.log, (Durability::Memory, read_from), &mut warnings)?;
        let (node, access) = (&args.node, &args.access);
        Self::of(services, store, drain, limits, args.addresses, (node, access), warnings)
            .map(|config| mercure::with_warnings(config, hub.as_deref()))
    }
}

impl TryFrom<IngestArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(mut args: IngestArgs) -> Result<Self> {
        let hub = mercure::hub(&args.mercure, &mut args.log)?;
        let limits = Limits::new(&args.limits)?;
        let drain = drain(&args.node, None);
        let services = Services::Ingest(ingest::Config {
            mercure: hub.clone(),
            ..ingest_config(&args.publishers, &args.node, &args.log, (&limits, &drain))?
        });
        let mut warnings = Vec::new();
        let durability = args.publishers.durability;
        let store =
            store(Some(&args.redis), &args.log, (durability, ReadFrom::Primary), &mut warnings)?;
        let (node, access) = (&args.node, &args.access);
        Self::of(services, store, drain, limits, args.addresses, (node, access), warnings)
            .map(|config| mercure::with_warnings(config, hub.as_deref()))
    }
}

impl Services {
    /// The subcommand that runs these services.
    pub(crate) const fn role(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "gateway",
            Self::Ingest(_) => "ingest",
            Self::Both(..) => "serve",
            Self::Relay { .. } => "relay",
        }
    }

    pub(crate) const fn gateway(&self) -> Option<&gateway::Config> {
        match self {
            Self::Gateway(gateway) | Self::Both(gateway, _) | Self::Relay { gateway, .. } => {
                Some(gateway)
            }
            Self::Ingest(_) => None,
        }
    }

    pub(crate) const fn ingest(&self) -> Option<&ingest::Config> {
        match self {
            Self::Ingest(ingest) | Self::Both(_, ingest) => Some(ingest),
            Self::Gateway(_) | Self::Relay { .. } => None,
        }
    }

    pub(crate) fn relay(&self) -> Option<&::relay::Config> {
        match self {
            Self::Relay { answers, .. } => answers.as_deref(),
            Self::Gateway(_) | Self::Ingest(_) | Self::Both(..) => None,
        }
    }

    pub(crate) const fn sources(&self) -> Option<&sources::Config> {
        match self {
            Self::Relay { sources, .. } => Some(sources),
            Self::Gateway(_) | Self::Ingest(_) | Self::Both(..) => None,
        }
    }
}

impl NodeConfig {
    fn of(
        services: Services,
        store: Store,
        drain: Drain,
        limits: Limits,
        AddressArgs { listen, admin_listen }: AddressArgs,
        (node, access): (&NodeArgs, &AccessArgs),
        mut warnings: Vec<String>,
    ) -> Result<Self> {
        let mut store = store;
        if let Store::Redis(config, _) = &mut store {
            config.presence = services.gateway().is_some_and(|one| !one.presence.is_empty());
        }
        let is_alone = matches!(store, Store::Memory(..));
        listen::ensure_apart(&listen, &admin_listen)?;
        if let Some(ratio) = node.otlp_ratio {
            ensure!((0.0..=1.0).contains(&ratio), "--otlp-ratio is {ratio}; it must be 0 to 1");
        }
        within("--drain-delay", node.drain_delay, Duration::ZERO, Duration::from_hours(1))?;
        Ok(Self {
            services,
            sites: Sites {
                public: site(cors(node)?, &listen, node)?,
                // The pages of other origins have nothing to do at the admin port.
                admin: site(cors::Policy::default(), &admin_listen, node)?,
            },
            access: self::access(access, &listen, is_alone, &mut warnings)?,
            listen,
            admin_listen,
            limits,
            debug: debug_gate(node, &mut warnings)?,
            warnings,
            store,
            drain,
            tls: tls_files(node)?,
            telemetry: TelemetryConfig {
                format: node.log_format,
                levels: node.log_level.clone(),
                otel: Otel::new(node.otlp_endpoint.as_deref())?,
                otlp_ratio: node.otlp_ratio,
                service: "tailwater",
                node: name(node),
            },
        })
    }
}

fn store(
    redis: Option<&str>,
    log: &LogArgs,
    (durability, read_from): (Durability, ReadFrom),
    warnings: &mut Vec<String>,
) -> Result<Store> {
    let (retention, spaces) = (retention(log)?, spaces(log)?);
    let Some(url) = redis else {
        if let Some(file) = &log.redis.redis_password_file {
            bail!("--redis-password-file {} needs --redis", file.display());
        }
        if let Some(prefix) = &log.redis.redis_prefix {
            bail!("--redis-prefix {prefix} needs --redis");
        }
        ensure!(
            durability == Durability::Memory,
            "--durability {durability} needs --redis: the embedded log is only in memory"
        );
        ensure!(
            read_from == ReadFrom::Primary,
            "--read-from {read_from} needs --redis: the embedded log has no replicas"
        );
        return Ok(Store::Memory(retention, spaces));
    };
    let (config, source) = redis_config(url, &log.redis, warnings)?;
    let config = redis_log::Config { retention, spaces, durability, read_from, ..config };
    Ok(Store::Redis(Box::new(config), source))
}

/// The way to Redis, with the defaults for everything else.
pub(crate) fn redis_config(
    url: &str,
    args: &RedisArgs,
    warnings: &mut Vec<String>,
) -> Result<(redis_log::Config, RedisSource)> {
    let password = args.redis_password_file.as_deref();
    let password = password.map(|file| secret("--redis-password-file", file, warnings));
    let source = RedisSource::new(url, password.transpose()?);
    let prefix = args.redis_prefix.clone().unwrap_or_default();
    Ok((redis_log::Config { prefix, ..redis_log::Config::new(source.read()?) }, source))
}

fn gateway_config(
    args: &SubscriberArgs,
    node: &NodeArgs,
    access: &AccessArgs,
    limits: &Limits,
    publish: bool,
) -> Result<gateway::Config> {
    within("--heartbeat", args.heartbeat, Duration::from_secs(3), Duration::from_mins(1))?;
    within("--retry", args.retry, Duration::from_millis(500), Duration::from_hours(1))?;
    within("--max-age", args.max_age, Duration::from_secs(10), Duration::from_hours(24 * 365))?;
    within("--drain-window", args.drain_window, Duration::ZERO, Duration::from_hours(24))?;
    ensure!(
        (1..=1024).contains(&args.max_topics),
        "--max-topics is {}; it must be 1 to 1024, as a cursor travels in a header",
        args.max_topics
    );
    ensure!(
        args.replay_rate.0 >= REPLAY_RATE_MIN,
        "--replay-rate is {}; it must be at least {}, so that a page arrives within seconds",
        args.replay_rate,
        Size(REPLAY_RATE_MIN)
    );
    let max_connections = limits.subscriptions(args.max_connections)?;
    let presence = args.presence.iter().filter(|text| !text.is_empty());
    if let Some(text) = presence.clone().find(|text| text.contains("{sub}")) {
        bail!("--presence {text:?}: a topic has presence for all subjects or for none");
    }
    Ok(gateway::Config {
        node: name(node),
        max_connections,
        max_topics: args.max_topics,
        heartbeat: args.heartbeat,
        retry: args.retry,
        max_age: args.max_age,
        cors: cors(node)?,
        subject_streams: args.quotas.subject_streams,
        subject_topics: args.quotas.subject_topics,
        presence: Patterns::new(presence.map(String::as_str)).context("--presence")?,
        replay_rate: u64::try_from(args.replay_rate.0).unwrap_or(u64::MAX),
        hash_subjects: access.hash_subjects,
        publish,
        ..gateway::Config::default()
    })
}

fn ingest_config(
    args: &PublisherArgs,
    node: &NodeArgs,
    log: &LogArgs,
    (limits, drain): (&Limits, &Drain),
) -> Result<ingest::Config> {
    let event_bytes_max = args.event_bytes_max.0;
    ensure!(
        (1..=64 << 20).contains(&event_bytes_max),
        "--event-bytes-max is {}; it must be 1 to 64MiB",
        args.event_bytes_max
    );
    let new_topics = args.new_topics;
    ensure!(new_topics > 0, "--new-topics is {new_topics}; it must be at least 1");
    let publish_bytes = args.quotas.subject_publish_bytes;
    ensure!(
        publish_bytes.0 > 0,
        "--subject-publish-bytes is {publish_bytes}; it must be at least 1"
    );
    let defaults = ingest::Config::default();
    limits.ensure_holds(
        &format!("an event of --event-bytes-max {}", args.event_bytes_max),
        u64::try_from(event_bytes_max.saturating_mul(EVENT_COPIES)).unwrap_or(u64::MAX),
    )?;
    Ok(ingest::Config {
        event_bytes_max,
        batch_bytes_max: defaults.batch_bytes_max.max(event_bytes_max),
        new_topics,
        // Half of the events of their topic, so that the newest event of each is kept.
        revocations_max: (log.history_events / 2).clamp(1, Revocations::MAX),
        subject_new_topics: args.quotas.subject_new_topics,
        subject_publish_rate: args.quotas.subject_publish_rate,
        subject_publish_bytes: u64::try_from(publish_bytes.0).unwrap_or(u64::MAX),
        drain: drain.streams.clone(),
        cors: cors(node)?,
        ..defaults
    })
}

fn retention(args: &LogArgs) -> Result<Retention> {
    ensure!(
        (1..=10_000_000).contains(&args.history_events),
        "--history-events is {}; it must be 1 to 10000000",
        args.history_events
    );
    ensure!(
        (1..=10_000_000).contains(&args.space_history_events),
        "--space-history-events is {}; it must be 1 to 10000000",
        args.space_history_events
    );
    let shown = humantime::format_duration;
    within(
        "--history-age",
        args.history_age,
        Duration::from_secs(1),
        Duration::from_hours(24 * 3650),
    )?;
    within(
        "--idempotency-ttl",
        args.idempotency_ttl,
        Duration::from_secs(1),
        Duration::from_hours(24),
    )?;
    if args.topic_ttl < 2 * args.history_age {
        bail!(
            "--topic-ttl {} is less than twice --history-age {}: a topic's numbers would be forgotten \
             before its events",
            shown(args.topic_ttl),
            shown(args.history_age)
        );
    }
    Ok(Retention {
        events: args.history_events,
        space_events: args.space_history_events,
        age: args.history_age,
        topic: args.topic_ttl,
        key: args.idempotency_ttl,
    })
}

/// Returns the prefixes of topics that share a log.
fn spaces(args: &LogArgs) -> Result<Spaces> {
    Spaces::new(args.space.iter().map(String::as_str)).context("--space")
}

fn within(flag: &str, value: Duration, min: Duration, max: Duration) -> Result<()> {
    let shown = humantime::format_duration;
    ensure!(
        (min..=max).contains(&value),
        "{flag} is {}; it must be {} to {}",
        shown(value),
        shown(min),
        shown(max)
    );
    Ok(())
}

fn drain(node: &NodeArgs, subscribers: Option<&SubscriberArgs>) -> Drain {
    Drain {
        delay: node.drain_delay,
        window: subscribers.map_or(Duration::ZERO, |s| s.drain_window),
        grace: node.shutdown_grace,
        leaving: CancellationToken::new(),
        streams: CancellationToken::new(),
    }
}

/// Returns the requests that a port answers: to local and allowed names only, if no other machine reaches
/// it.
fn site(policy: cors::Policy, listen: &[SocketAddr], node: &NodeArgs) -> Result<SiteRules> {
    let local = SiteRules::new(policy.clone()).local(&node.allow_host).context("--allow-host")?;
    Ok(if listen::are_local(listen) { local } else { SiteRules::new(policy) })
}

/// Returns the other origins whose pages may use the node.
fn cors(node: &NodeArgs) -> Result<cors::Policy> {
    cors::Policy::allow(&node.cors_origin).context("--cors-origin")
}

/// Returns the clients that `/debug` answers.
fn debug_gate(node: &NodeArgs, warnings: &mut Vec<String>) -> Result<DebugGate> {
    let Some(path) = &node.debug_token_file else {
        let names = SiteRules::default().local(&node.allow_host).context("--allow-host")?;
        return Ok(DebugGate::Local(names));
    };
    Ok(DebugGate::Token(secret("--debug-token-file", path, warnings)?))
}

/// Returns a file with a secret, once it could be read.
fn secret(flag: &'static str, path: &Path, warnings: &mut Vec<String>) -> Result<SecretFile> {
    let file = SecretFile::new(flag, path);
    file.read()?;
    warnings.extend(file.warning().with_context(|| file.to_string())?);
    Ok(file)
}

fn tls_files(node: &NodeArgs) -> Result<Option<tls::Files>> {
    let ticket_keys = node.tls_ticket_keys.clone();
    match (node.tls_cert.clone(), node.tls_key.clone()) {
        (Some(certificate), Some(key)) => Ok(Some(tls::Files::new(certificate, key, ticket_keys))),
        (Some(file), None) => bail!("--tls-cert {} needs --tls-key", file.display()),
        (None, Some(file)) => bail!("--tls-key {} needs --tls-cert", file.display()),
        (None, None) => match ticket_keys {
            Some(file) => bail!("--tls-ticket-keys {} needs --tls-cert", file.display()),
            None => Ok(None),
        },
    }
}

/// Returns the given name of the node, or else the host name.
fn name(node: &NodeArgs) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = node.node.clone().or_else(host).unwrap_or_default();
    if name.trim().is_empty() { "tailwater".to_owned() } else { name.trim().to_owned() }
}
