//! A node: its log, its services, its sockets, and the way it leaves.
//!
//! The home runtime holds everything but connections: the log's tasks, accepting, the admin port, the
//! probe. Connections are on the node's workers.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use access::Access;
use anyhow::{Context as _, Result, bail};
use axum::Router;
use cors::SiteRules;
use event_log::{Log, MemoryLog};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use gateway::Gateway;
use limits::{Leases, Rules};
use metrics::Registry;
use presence::Presence;
use redis_log::RedisLog;
use relay::Relay;
use sources::Sources;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::access_sources::AccessSources;
use crate::admin::Admin;
use crate::config::{Drain, NodeConfig, Services, Store, shown};
use crate::log_metrics;
use crate::memory::MemoryLimit;
use crate::redis_source::RedisSource;
use crate::revocation_feed::RevocationFeed;
use crate::server::{self, Ending, Entry, Gate, Site};
use crate::signals::StopSignals;
use crate::telemetry::Telemetry;
use crate::tls::Tls;
use crate::workers::{Threads, Workers};

/// A node whose sockets are open, and which serves once it runs.
pub(crate) struct Node {
    role: &'static str,
    /// The gateway, on a node that serves subscribers.
    gateway: Option<Gateway>,
    relay: Option<Relay>,
    copied: Option<Sources>,
    tls: Option<Arc<Tls>>,
    public: Port,
    admin: Port,
    threads: Threads,
    drain: Drain,
    sources: AccessSources,
    feed: RevocationFeed,
    redis: Option<Redis>,
}

/// A log, and what comes with it if it is on Redis.
struct Opened {
    log: Arc<dyn Log>,
    leases: Option<Arc<dyn Leases>>,
    redis: Option<Redis>,
}

/// The log on Redis, and the source of its credentials.
type Redis = (Arc<RedisLog>, RedisSource);

/// Listening sockets and the site that they serve.
struct Port {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    site: Site,
    workers: Workers,
}

impl Node {
    /// Opens the log and the sockets. Call it within the home runtime.
    ///
    /// # Errors
    /// A file cannot be used, an address is taken, or a thread cannot be started.
    pub(crate) fn build(config: NodeConfig, telemetry: &Telemetry) -> Result<Self> {
        let NodeConfig { services, limits, sites, store, drain, tls, .. } = config;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let role = services.role();
        let registry = Registry::new();
        metrics::process::register(&registry);
        describe(&services, &registry);
        telemetry.register(&registry);
        let rules = limits.rules(&registry);
        let tls = tls.map(|files| Tls::open(files, rules.share, &registry)).transpose()?;
        let tls = tls.map(Arc::new);
        let retention = *store.retention();
        let Opened { log, leases, redis } = open(store, &registry);
        let sources = AccessSources::open(config.access, &registry)?;
        let access = &sources.access;
        // Nobody has a name where everybody may do everything.
        let leases = leases.filter(|_| !access.is_open());
        let others = Others { leases, members: members(&services, redis.as_ref()) };
        let Served { gateway, relay, entry } =
            serve(&services, (&rules, access, others), sites.public, &log, &registry)?;
        let copied = services.sources().filter(|sources| !sources.is_empty()).cloned();
        let name = services.gateway().map_or("", |gateway| &gateway.node);
        let copied = copied.map(|config| Sources::new(config, Arc::clone(&log), name, &registry));
        let publishes = services.ingest().is_some();
        let feed = RevocationFeed::new(access, &log, gateway.as_ref(), (retention, publishes));
        let gate = limits.gate(&rules, gateway.is_some(), &registry);
        let site = Site { entry, tls: tls.clone(), gate: Arc::new(gate) };
        let (workers, threads) = Workers::for_each_core().context("the workers did not start")?;
        workers.register(&registry);
        let public = Port::open("--listen", &config.listen, site, workers)?;

        let (levels, leaving) = (telemetry.levels(), drain.leaving.clone());
        let gate = Arc::new(Gate::admin(&rules, &registry));
        let admin = Admin {
            registry,
            log,
            gateway: gateway.clone(),
            revocations: feed.has_read(),
            levels,
            leaving,
            debug: config.debug,
        };
        let site = Site { entry: Entry::Routes(admin.router(), sites.admin), tls: None, gate };
        let admin = Port::open("--admin-listen", &config.admin_listen, site, Workers::home())?;
        Ok(Self {
            role,
            gateway,
            relay,
            copied,
            tls,
            public,
            admin,
            threads,
            drain,
            sources,
            feed,
            redis,
        })
    }

    /// Serves until a signal, then leaves in order; a second signal skips the rest.
    ///
    /// # Errors
    /// A part of the node has panicked.
    pub(crate) async fn run(self, mut signals: StopSignals) -> Result<()> {
        let Self { role, gateway, relay, copied, tls, public, admin, threads, drain, .. } = self;
        let (sources, feed, redis) = (self.sources, self.feed, self.redis);
        let (listen, admin_listen) = (shown(&public.addresses), shown(&admin.addresses));
        tracing::info!(role, listen, admin = admin_listen, "serving");
        if let Some(address) = public.addresses.first() {
            announce(role, *address, tls.is_some());
        }

        // A task, because it goes on while the answers of a node that leaves come to their ends.
        let _relaying = relay
            .clone()
            .map(|relay| AbortOnDropHandle::new(tokio::spawn(async move { relay.run().await })));
        // The same: the members of a node that leaves are there until they are at another one.
        let _reporting = gateway.clone().map(|gateway| {
            AbortOnDropHandle::new(tokio::spawn(async move { gateway.report_presence().await }))
        });
        let leaving = drain.leaving.clone();
        let copying = tokio::spawn(async move {
            match copied {
                Some(sources) => sources.run(leaving).await,
                None => leaving.cancelled().await,
            }
        });
        let (ending, admin_ending) = (Ending::default(), Ending::default());
        let served = tokio::spawn(public.serve(&ending, &drain));
        let administered = tokio::spawn(admin.serve(&admin_ending, &drain));
        let orderly = async {
            leave((gateway.as_ref(), relay.as_ref()), &drain, &ending).await;
            copying.await.context("a copier panicked")?;
            ending.stop();
            served.await.context("the server panicked")?;
            // The admin port stops last, so that operators can watch the drain.
            admin_ending.stop();
            administered.await.context("the admin server panicked")
        };
        let life = async {
            tokio::select! {
                signal = signals.received() => tracing::info!(signal, "stopping"),
                () = keep(gateway.as_ref(), tls.as_deref()) => {}
                () = sources.keep_fresh() => {}
                () = keep_credentials(redis.as_ref()) => {}
                () = feed.run() => {}
                () = report(gateway.as_ref()) => {}
            }
            tokio::select! {
                left = orderly => left,
                signal = signals.received() => {
                    tracing::warn!(signal, "stopping at once");
                    Ok(())
                }
            }
        };
        tokio::select! {
            ended = life => ended?,
            () = threads.ended() => bail!("a worker panicked"),
        }
        // Dropping the workers ends the remaining connections.
        drop(threads);
        tracing::info!("stopped");
        Ok(())
    }
}

impl Port {
    /// Listens on all addresses, but for those of a protocol that this machine lacks, if others work.
    fn open(flag: &str, addresses: &[SocketAddr], site: Site, workers: Workers) -> Result<Self> {
        let (mut listeners, mut lacking) = (Vec::new(), None);
        for address in addresses {
            match server::listen(*address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if server::is_lacking(&error) => lacking = Some((error, address)),
                Err(error) => return Err(error).with_context(|| format!("{flag} {address}")),
            }
        }
        if let Some((error, address)) = lacking {
            if listeners.is_empty() {
                return Err(error).with_context(|| format!("{flag} {address}"));
            }
            tracing::info!(%address, %error, "this machine has no such address");
        }
        let addresses: io::Result<_> = listeners.iter().map(TcpListener::local_addr).collect();
        let addresses = addresses.context("the listening socket has no address")?;
        Ok(Self { listeners, addresses, site, workers })
    }

    fn serve(self, ending: &Ending, drain: &Drain) -> impl Future<Output = ()> + use<> {
        let Self { listeners, site, workers, .. } = self;
        let served = listeners.into_iter().map(|listener| {
            let (site, workers, ending) = (site.clone(), workers.clone(), ending.clone());
            server::serve(listener, site, workers, ending, drain.grace)
        });
        join_all(served.collect::<Vec<_>>()).map(drop)
    }
}

/// Exposes the build, and the configuration that alerts compare with.
fn describe(services: &Services, registry: &Registry) {
    let revision = option_env!("TAILWATER_REVISION").unwrap_or("unknown");
    let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", revision)];
    registry.info("build_info", "The build of this node.", &build);
    let memory = i64::try_from(MemoryLimit::read().bytes).unwrap_or(i64::MAX);
    registry.gauge("memory_limit_bytes", "Memory that this node may use.").set(memory);
    if let Some(gateway) = services.gateway() {
        let max_age = i64::try_from(gateway.max_age.as_secs()).unwrap_or(i64::MAX);
        let help = "Age at which a subscriber is told to reconnect.";
        registry.gauge("max_age_seconds", help).set(max_age);
    }
}

/// Opens the log. An unreachable Redis delays the first reads and appends, not the start.
fn open(store: Store, registry: &Registry) -> Opened {
    match store {
        Store::Memory(retention, spaces) => {
            log_metrics::register_retention(registry, &retention);
            let log = Arc::new(MemoryLog::with_spaces(retention, spaces));
            Opened { log, leases: None, redis: None }
        }
        Store::Redis(config, source) => {
            log_metrics::register_retention(registry, &config.retention);
            let log = RedisLog::new(*config);
            log_metrics::register(registry, &log.stats());
            let leases = log.leases();
            Opened {
                log: Arc::<RedisLog>::clone(&log),
                leases: Some(leases),
                redis: Some((log, source)),
            }
        }
    }
}

/// The knowledge of other nodes, if there are any.
#[derive(Default)]
pub(crate) struct Others {
    leases: Option<Arc<dyn Leases>>,
    members: Option<Arc<dyn presence::Store>>,
}

/// The services of a node, and the one way in to all of them.
pub(crate) struct Served {
    gateway: Option<Gateway>,
    relay: Option<Relay>,
    entry: Entry,
}

/// Makes the services.
///
/// # Errors
/// The machine has no certificate authorities, and the upstream of a relay needs some.
pub(crate) fn serve(
    services: &Services,
    (rules, access, others): (&Rules, &Access, Others),
    site: SiteRules,
    log: &Arc<dyn Log>,
    registry: &Registry,
) -> Result<Served> {
    let (rules, access) = (rules.clone(), access.clone());
    let gateway = services.gateway().cloned().map(|config| {
        let (site, rules, access) = (site.clone(), rules.clone(), access.clone());
        let Others { leases, members } = others;
        let config = gateway::Config { site, rules, access, leases, members, ..config };
        Gateway::new(config, Arc::clone(log), registry)
    });
    let ingest = services.ingest().cloned().map(|config| {
        let config = ingest::Config { rules: rules.clone(), access: access.clone(), ..config };
        ingest::router(config, Arc::clone(log), registry)
    });
    let relay = match (services.relay().cloned(), &gateway) {
        (Some(config), Some(gateway)) => {
            let config = relay::Config { rules, access, ..config };
            let relay = Relay::new(config, Arc::clone(log), readers(gateway), registry);
            Some(relay.context("cannot build the HTTP client of --upstream")?)
        }
        _ => None,
    };
    let routes = ingest.or_else(|| relay.as_ref().map(Relay::router)).unwrap_or_default();
    let entry = match &gateway {
        Some(gateway) => Entry::Door(gateway.door(routes)),
        None => Entry::Routes(routes, site),
    };
    Ok(Served { gateway, relay, entry })
}

/// The gateway as the relay of the same node knows it: a door without the relay's routes.
fn readers(gateway: &Gateway) -> relay::Gateway {
    let door = gateway.door(Router::new());
    relay::Gateway::new(move |request, peer| {
        let door = door.clone();
        Box::pin(async move { door.answer(request, peer).await })
    })
}

/// The members of topics on all nodes, for a gateway whose topics have presence.
fn members(services: &Services, redis: Option<&Redis>) -> Option<Arc<dyn presence::Store>> {
    let gateway = services.gateway().filter(|gateway| !gateway.presence.is_empty())?;
    let (log, _) = redis?;
    Some(log.presence(Presence::grace(gateway.retry)))
}

/// Reports the streams of subjects to the other nodes. Never ends.
async fn report(gateway: Option<&Gateway>) {
    match gateway {
        Some(gateway) => gateway.report_streams().await,
        None => pending().await,
    }
}

/// Keeps the node ready and its certificate fresh. Never ends.
async fn keep(gateway: Option<&Gateway>, tls: Option<&Tls>) {
    let ready = async {
        match gateway {
            Some(gateway) => gateway.run_probe().await,
            None => pending().await,
        }
    };
    let fresh = async {
        match tls {
            Some(tls) => tls.keep_fresh().await,
            None => pending().await,
        }
    };
    tokio::join!(ready, fresh);
}

/// Keeps the login and the certificates at Redis fresh. Never ends.
async fn keep_credentials(redis: Option<&Redis>) {
    match redis {
        Some((log, source)) => source.keep_fresh(log).await,
        None => pending().await,
    }
}

/// Gives connections away once load balancers have learned that the node leaves: subscribers and answers over
/// their window, then streams of publishers.
async fn leave(
    (gateway, relay): (Option<&Gateway>, Option<&Relay>),
    drain: &Drain,
    ending: &Ending,
) {
    drain.leaving.cancel();
    let Some(gateway) = gateway else {
        sleep(drain.delay).await;
        return drain.streams.cancel();
    };
    let last_requests = async {
        gateway.handing_away().await;
        ending.last_requests.cancel();
    };
    let answers = async {
        if let Some(relay) = relay {
            gateway.handing_away().await;
            relay.drain(drain.window).await;
        }
    };
    let subscribers = gateway.drain(drain.delay, drain.window, drain.grace);
    tokio::join!(subscribers, last_requests, answers);
    drain.streams.cancel();
}

/// Tells a person at a terminal where the console is.
fn announce(role: &str, listen: SocketAddr, is_encrypted: bool) {
    use std::io::IsTerminal as _;
    if role != "ingest" && std::io::stderr().is_terminal() {
        let host = if listen.ip().is_unspecified() {
            "localhost".to_owned()
        } else {
            listen.ip().to_string()
        };
        let scheme = if is_encrypted { "https" } else { "http" };
        eprintln!("\n  Console:  {scheme}://{host}:{}/\n", listen.port());
    }
}
