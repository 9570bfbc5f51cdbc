//! Runs a node: telemetry, log, services, signals, and the way out.

use std::future::pending;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result};
use axum::Router;
use event_log::{Log, MemoryLog};
use gateway::Gateway;
use metrics::{Registry, Telemetry};
use redis_log::RedisLog;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::admin::Admin;
use crate::config::{Drain, NodeConfig, Store};
use crate::log_metrics;
use crate::server::{self, Ending, Entry, Site};
use crate::tls::Tls;

/// Runs a node until it is told to stop.
pub(crate) fn node(config: NodeConfig) -> Result<()> {
    let telemetry = Telemetry::init(&config.telemetry)?;
    let runtime = runtime().context("the runtime did not start")?;
    let outcome = runtime.block_on(serve(config, &telemetry));
    drop(runtime);
    telemetry.shutdown();
    outcome
}

/// A worker for each core that this process may use. On one core it is the main thread, which has
/// nobody to share with and so nothing to guard.
fn runtime() -> io::Result<Runtime> {
    let mut builder = match available_parallelism().map_or(1, NonZero::get) {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn serve(config: NodeConfig, telemetry: &Telemetry) -> Result<()> {
    let NodeConfig { role, listen, admin_listen, store, gateway, ingest, drain, tls, .. } = config;
    // Before anything else, so that a signal during the start is not lost.
    let mut told_to_stop = StopSignal::new()?;
    let registry = Registry::new();
    registry.info("build_info", "What runs.", ("version", env!("CARGO_PKG_VERSION")));
    telemetry.register(&registry);
    let tls = tls.map(|files| Tls::open(files, &registry)).transpose()?.map(Arc::new);
    let log = open(store, &registry);
    let gateway = gateway.map(|config| Gateway::new(config, Arc::clone(&log), &registry));
    let mut router = Router::new();
    if let Some(config) = ingest {
        router = router.merge(ingest::router(config, Arc::clone(&log), &registry));
    }
    let entry = match &gateway {
        Some(gateway) => Entry::Door(gateway.door(router)),
        None => Entry::Routes(router),
    };
    let site = Site { entry, tls: tls.clone() };
    let leaving = drain.leaving.clone();
    let levels = telemetry.levels();
    let admin = Admin { registry, log, gateway: gateway.clone(), levels, leaving };

    let listener = server::listen(listen).with_context(|| format!("--listen {listen}"))?;
    let admin_listener =
        server::listen(admin_listen).with_context(|| format!("--admin-listen {admin_listen}"))?;
    let listen = listener.local_addr().context("the listening socket has no address")?;
    tracing::info!(role, %listen, admin = %admin_listener.local_addr().unwrap_or(admin_listen), "serving");
    announce(role, listen, tls.is_some());

    let (ending, admin_ending) = (Ending::default(), Ending::default());
    let served = tokio::spawn(server::serve(listener, site, ending.clone(), drain.grace));
    let administered = tokio::spawn(server::serve(
        admin_listener,
        Site { entry: Entry::Routes(admin.router()), tls: None },
        admin_ending.clone(),
        drain.grace,
    ));
    let probed = async {
        match &gateway {
            Some(gateway) => gateway.run_probe().await,
            None => pending().await,
        }
    };
    let kept_fresh = async {
        match &tls {
            Some(tls) => tls.keep_fresh().await,
            None => pending().await,
        }
    };
    tokio::select! {
        signal = told_to_stop.received() => tracing::info!(signal, "stopping"),
        () = probed => {}
        () = kept_fresh => {}
    }

    let orderly = async {
        leave(gateway.as_ref(), &drain, &ending).await;
        ending.stop();
        served.await.context("the server panicked")?;
        // Last, so that the end can be watched.
        admin_ending.stop();
        administered.await.context("the admin server panicked")
    };
    tokio::select! {
        left = orderly => left?,
        // What is still open ends with the runtime.
        signal = told_to_stop.received() => tracing::warn!(signal, "stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens the log. A Redis that is away now is waited for by those who need it, not by the start.
fn open(store: Store, registry: &Registry) -> Arc<dyn Log> {
    match store {
        Store::Memory(retention) => {
            log_metrics::register_retention(registry, &retention);
            Arc::new(MemoryLog::new(retention))
        }
        Store::Redis(config) => {
            log_metrics::register_retention(registry, &config.retention);
            let log = RedisLog::new(*config);
            log_metrics::register(registry, &log.stats());
            log
        }
    }
}

/// Gives away what can be given away, once load balancers have learned of it: subscribers over their
/// window, then streams of publishers.
async fn leave(gateway: Option<&Gateway>, drain: &Drain, ending: &Ending) {
    drain.leaving.cancel();
    match gateway {
        Some(gateway) => {
            let last_requests = async {
                gateway.handing_away().await;
                ending.last_requests.cancel();
            };
            tokio::join!(gateway.drain(drain.delay, drain.window, drain.grace), last_requests);
        }
        None => sleep(drain.delay).await,
    }
    drain.streams.cancel();
}

/// Tells a person at a terminal where to look.
fn announce(role: &str, listen: std::net::SocketAddr, is_encrypted: bool) {
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

/// SIGTERM, as orchestrators send it, or SIGINT, as people do.
struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn new() -> Result<Self> {
        let handler = |kind| signal(kind).context("signals cannot be handled");
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
