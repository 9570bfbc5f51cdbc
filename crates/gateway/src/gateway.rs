//! The gateway: its log, its connections, its readiness and its drain.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use event_log::Log;
use limits::SubjectStreams;
use metrics::Registry;
use presence::{MemoryStore, Presence};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Config;
use crate::connections::{ConnectionReport, Connections};
use crate::drain::Phase;
use crate::ends::Ends;
use crate::haste::Haste;
use crate::metrics::Metrics;
use crate::probe::{self, Probe};
use crate::replay::Replay;

/// Serves subscribers from a log. Clones are cheap and share one gateway.
#[derive(Debug, Clone)]
pub struct Gateway(pub(crate) Arc<Shared>);

/// State that all connections of a gateway share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) metrics: Metrics,
    pub(crate) connections: Arc<Connections>,
    pub(crate) phase: watch::Sender<Phase>,
    /// The planned ends of the streams that a general server writes.
    pub(crate) ends: Ends,
    /// Counts the revocations that this gateway has heard of.
    pub(crate) revoked: watch::Sender<u64>,
    /// The refusals that clients come for too often.
    pub(crate) haste: Haste,
    /// The bytes a second of events that subscribers had missed.
    pub(crate) replay: Replay,
    /// The streams of each subject.
    pub(crate) streams: Arc<SubjectStreams>,
    /// The members of topics, on a node whose topics have presence.
    pub(crate) presence: Option<Presence>,
    probe: Probe,
}

/// Time between two log lines about the progress of a drain.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The reason why a gateway should not get new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The gateway is about to stop.
    #[error("draining")]
    Draining,
    /// No probe has succeeded yet.
    #[error("no probe has arrived through the log yet")]
    Starting,
    /// The last successful probe is too old.
    #[error("no probe has arrived through the log for {} s", .0.as_secs())]
    Stale(Duration),
}

impl Gateway {
    /// Creates a gateway on `log` with metrics in `registry`.
    #[must_use]
    pub fn new(config: Config, log: Arc<dyn Log>, registry: &Registry) -> Self {
        let metrics = Metrics::register(registry);
        let most = (config.subject_streams, config.subject_topics);
        let streams = SubjectStreams::new(most, config.leases.clone(), registry);
        let connections = Connections::new(
            config.max_connections,
            (&config.rules, Arc::clone(&streams)),
            registry,
            metrics.connections.clone(),
        );
        let replay = Replay::new(config.replay_rate);
        let presence = (!config.presence.is_empty()).then(|| {
            let members = config.members.clone().unwrap_or_else(|| Arc::<MemoryStore>::default());
            Presence::new(members, Presence::grace(config.retry), registry)
        });
        let phase = watch::channel(Phase::Serving).0;
        let shared = Shared {
            config,
            log,
            metrics,
            connections,
            phase,
            ends: Ends::default(),
            revoked: watch::channel(0).0,
            haste: Haste::new(registry),
            replay,
            streams,
            presence,
            probe: Probe::default(),
        };
        let gateway = Self(Arc::new(shared));
        gateway.register_asked(registry);
        gateway
    }

    /// Sends probes and checks that they come back through the feed, until it is dropped. A
    /// gateway whose probes do not run is not ready.
    pub async fn run_probe(&self) {
        self.0.probe.run(Arc::clone(&self.0.log), &self.0.config.node).await;
    }

    /// Reports the streams of subjects to the other nodes, until it is dropped. The other nodes do not count the
    /// streams of a gateway that does not report.
    pub async fn report_streams(&self) {
        self.0.streams.run().await;
    }

    /// Reports the members of topics to the other nodes, until it is dropped. Nobody hears of the members of a gateway
    /// that does not report.
    pub async fn report_presence(&self) {
        match &self.0.presence {
            Some(presence) => presence.run().await,
            None => pending().await,
        }
    }

    /// Checks that the gateway should get new connections.
    ///
    /// # Errors
    /// The gateway is draining, or no recent probe has succeeded.
    pub fn ready(&self) -> Result<(), NotReady> {
        if *self.0.phase.borrow() != Phase::Serving {
            return Err(NotReady::Draining);
        }
        match self.0.probe.age() {
            None => Err(NotReady::Starting),
            Some(age) if age > probe::STALE => Err(NotReady::Stale(age)),
            Some(_) => Ok(()),
        }
    }

    /// Drains the gateway. Readiness is gone at once. New clients are served for `delay`; then each
    /// connection is closed at a random moment within `window`, and its client reconnects elsewhere; at
    /// the end of the window also one whose client takes nothing.
    /// Returns when all connections have closed, at the latest `grace` after the window, with the number
    /// of connections that are still open.
    pub async fn drain(&self, delay: Duration, window: Duration, grace: Duration) -> usize {
        self.0.metrics.draining.set(1);
        self.0.phase.send_replace(Phase::Leaving);
        tracing::info!(left = self.0.connections.len(), "leaving the load balancer");
        sleep(delay).await;
        let until = Instant::now() + window;
        self.0.phase.send_replace(Phase::handing_away(window));
        self.0.connections.wake();
        tracing::info!(left = self.0.connections.len(), "handing connections away");
        let left = self.handed_away_by(until + grace).await;
        tracing::info!(left, "handed connections away");
        left
    }

    /// Waits until no connection is left or `deadline` has passed, and logs the progress. Returns the
    /// number of connections left.
    async fn handed_away_by(&self, deadline: Instant) -> usize {
        loop {
            let until = deadline.min(Instant::now() + PROGRESS_EVERY);
            if timeout_at(until, self.0.connections.all_closed()).await.is_ok() {
                return 0;
            }
            let left = self.0.connections.len();
            if until == deadline {
                return left;
            }
            tracing::info!(left, "handing connections away");
        }
    }

    /// Ends the streams and long-polls of parties whose right was revoked.
    pub fn end_revoked(&self) {
        let revoked = self.0.connections.revoke(self.0.config.access.revocations());
        self.0.ends.revoke(&revoked);
        self.0.revoked.send_modify(|count| *count += 1);
        if !revoked.is_empty() {
            tracing::info!(streams = revoked.len(), "ended streams whose right was revoked");
        }
    }

    /// Waits until a drain begins to hand connections away.
    pub async fn handing_away(&self) {
        let mut phase = self.0.phase.subscribe();
        // The sender lives as long as `self`.
        let _begun = phase.wait_for(|phase| matches!(phase, Phase::HandingAway { .. })).await;
    }

    /// Returns the `count` connections with the greatest lag.
    #[must_use]
    pub fn laggards(&self, count: usize) -> Vec<ConnectionReport> {
        self.0.connections.laggards(count)
    }

    fn register_asked(&self, registry: &Registry) {
        let gauge = |name, help, read: fn(&Shared) -> f64| {
            let shared = Arc::clone(&self.0);
            registry.gauge_fn(name, help, move || read(&shared));
        };
        gauge("connections_max", "Maximum number of open subscriptions.", |g| {
            g.config.max_connections as f64
        });
        gauge("topics", "Topics with a subscription on this node.", |g| {
            g.connections.topics() as f64
        });
        gauge("slow_readers", "Subscriptions that lag by 100 events or more.", |g| {
            g.connections.slow() as f64
        });
        gauge("feed_probe_age_seconds", "Time since a probe arrived through the log.", |g| {
            g.probe.age().map_or(f64::INFINITY, |age| age.as_secs_f64())
        });
        gauge(
            "tail_lag_seconds",
            "Time of the last probe until it came back through the feed.",
            |g| g.probe.round_trip().map_or(f64::INFINITY, |time| time.as_secs_f64()),
        );
    }
}
