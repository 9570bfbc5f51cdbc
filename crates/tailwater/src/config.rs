//! Converts arguments into the configuration of a node. Flags that contradict each other are refused,
//! with the names of both.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cors::SiteRules;
use event_log::Retention;
use redis_log::Durability;
use tokio_util::sync::CancellationToken;

use crate::args::{
    GatewayArgs, IngestArgs, LogArgs, NodeArgs, PublisherArgs, ServeArgs, SubscriberArgs,
};
use crate::telemetry::TelemetryConfig;
use crate::tls;

/// Everything that a node needs to run.
#[derive(Debug)]
pub(crate) struct NodeConfig {
    pub(crate) services: Services,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) sites: Sites,
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
}

/// The store of the events.
#[derive(Debug)]
pub(crate) enum Store {
    /// In this process.
    Memory(Retention),
    /// In Redis.
    Redis(Box<redis_log::Config>),
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

/// File descriptors kept for the log, the admin port and sockets that are closing.
const FILES_RESERVED: usize = 64;

impl TryFrom<ServeArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(args: ServeArgs) -> Result<Self> {
        let drain = drain(&args.node, Some(&args.subscribers));
        let services = Services::Both(
            gateway_config(&args.subscribers, &args.node, true)?,
            ingest_config(&args.publishers, &args.node, &drain)?,
        );
        let store = store(args.redis.as_deref(), &args.log, args.publishers.durability)?;
        Self::of(services, store, drain, args.listen, &args.node)
    }
}

impl TryFrom<GatewayArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(args: GatewayArgs) -> Result<Self> {
        let drain = drain(&args.node, Some(&args.subscribers));
        let services = Services::Gateway(gateway_config(&args.subscribers, &args.node, false)?);
        let store = store(Some(&args.redis), &args.log, Durability::Memory)?;
        Self::of(services, store, drain, args.listen, &args.node)
    }
}

impl TryFrom<IngestArgs> for NodeConfig {
    type Error = anyhow::Error;

    fn try_from(args: IngestArgs) -> Result<Self> {
        let drain = drain(&args.node, None);
        let services = Services::Ingest(ingest_config(&args.publishers, &args.node, &drain)?);
        let store = store(Some(&args.redis), &args.log, args.publishers.durability)?;
        Self::of(services, store, drain, args.listen, &args.node)
    }
}

impl Services {
    /// The subcommand that runs these services.
    pub(crate) const fn role(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "gateway",
            Self::Ingest(_) => "ingest",
            Self::Both(..) => "serve",
        }
    }

    pub(crate) const fn gateway(&self) -> Option<&gateway::Config> {
        match self {
            Self::Gateway(gateway) | Self::Both(gateway, _) => Some(gateway),
            Self::Ingest(_) => None,
        }
    }

    pub(crate) const fn ingest(&self) -> Option<&ingest::Config> {
        match self {
            Self::Ingest(ingest) | Self::Both(_, ingest) => Some(ingest),
            Self::Gateway(_) => None,
        }
    }
}

impl NodeConfig {
    fn of(
        services: Services,
        store: Store,
        drain: Drain,
        listen: SocketAddr,
        node: &NodeArgs,
    ) -> Result<Self> {
        let (admin, port) = (node.admin_listen, listen.port());
        let same_host = listen.ip() == admin.ip()
            || listen.ip().is_unspecified()
            || admin.ip().is_unspecified();
        ensure!(
            port == 0 || port != admin.port() || !same_host,
            "--listen {listen} and --admin-listen {admin} are the same port"
        );
        ensure!(
            (0.0..=1.0).contains(&node.otlp_ratio),
            "--otlp-ratio is {}; it must be 0 to 1",
            node.otlp_ratio
        );
        within("--drain-delay", node.drain_delay, Duration::ZERO, Duration::from_hours(1))?;
        Ok(Self {
            services,
            listen,
            admin_listen: admin,
            sites: Sites {
                public: site(cors(node)?, listen, node)?,
                // The pages of other origins have nothing to do at the admin port.
                admin: site(cors::Policy::default(), admin, node)?,
            },
            store,
            drain,
            tls: tls_files(node)?,
            telemetry: TelemetryConfig {
                format: node.log_format,
                levels: node.log_level.clone(),
                otlp_endpoint: node.otlp_endpoint.clone(),
                otlp_ratio: node.otlp_ratio,
                service: "tailwater",
                node: name(node),
            },
        })
    }
}

fn store(redis: Option<&str>, log: &LogArgs, durability: Durability) -> Result<Store> {
    let retention = retention(log)?;
    let Some(url) = redis else {
        ensure!(
            durability == Durability::Memory,
            "--durability {durability} needs --redis: the embedded log is only in memory"
        );
        return Ok(Store::Memory(retention));
    };
    let url = url.parse().with_context(|| "--redis".to_owned())?;
    let config = redis_log::Config { retention, durability, ..redis_log::Config::new(url) };
    Ok(Store::Redis(Box::new(config)))
}

fn gateway_config(
    args: &SubscriberArgs,
    node: &NodeArgs,
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
    let files = usize::try_from(open_files_max()?).unwrap_or(usize::MAX);
    let most = files.saturating_sub(FILES_RESERVED);
    let max_connections = args.max_connections.unwrap_or(most.min(files / 10 * 9));
    ensure!(
        (1..=most).contains(&max_connections),
        "--max-connections is {max_connections}; it must be 1 to {most}, as this process may open \
         {files} files (ulimit -n)"
    );
    Ok(gateway::Config {
        node: name(node),
        max_connections,
        max_topics: args.max_topics,
        heartbeat: args.heartbeat,
        retry: args.retry,
        max_age: args.max_age,
        cors: cors(node)?,
        publish,
        ..gateway::Config::default()
    })
}

fn ingest_config(args: &PublisherArgs, node: &NodeArgs, drain: &Drain) -> Result<ingest::Config> {
    let event_bytes_max = args.event_bytes_max.0;
    ensure!(
        (1..=64 << 20).contains(&event_bytes_max),
        "--event-bytes-max is {}; it must be 1 to 64MiB",
        args.event_bytes_max
    );
    let defaults = ingest::Config::default();
    Ok(ingest::Config {
        event_bytes_max,
        batch_bytes_max: defaults.batch_bytes_max.max(event_bytes_max),
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
        age: args.history_age,
        topic: args.topic_ttl,
        key: args.idempotency_ttl,
    })
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

/// Returns the other origins whose pages may use the node.
fn site(policy: cors::Policy, listen: SocketAddr, node: &NodeArgs) -> Result<SiteRules> {
    let local = SiteRules::new(policy.clone()).local(&node.allow_host).context("--allow-host")?;
    let is_local = listen.ip().to_canonical().is_loopback();
    Ok(if is_local { local } else { SiteRules::new(policy) })
}

fn cors(node: &NodeArgs) -> Result<cors::Policy> {
    cors::Policy::allow(&node.cors_origin).context("--cors-origin")
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

/// Raises the limit of open files as far as allowed, and returns the new limit.
fn open_files_max() -> Result<u64> {
    rlimit::increase_nofile_limit(rlimit::INFINITY).context("the limit of open files")
}
