use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::conformance::{Lab, RETENTION, check, spaces};
use event_log::{Log, LogName};
use redis_log::{Config, RedisLog};
use tokio::time::sleep;

use crate::deployment::{Cluster, Sentinels};
use crate::server::Server;
use crate::support::{audited_at, open};

enum Deployment {
    Single(Server),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

impl Deployment {
    fn config(&self) -> Config {
        let url = match self {
            Self::Single(server) => server.url(),
            Self::Sentinels(sentinels) => sentinels.url(),
            Self::Cluster(cluster) => cluster.url(),
        };
        Config { retention: RETENTION, spaces: spaces(), ..audited_at(&url) }
    }

    /// The servers that may hold a topic, before a fail-over.
    fn primaries(&self) -> &[Server] {
        match self {
            Self::Single(server) => std::slice::from_ref(server),
            Self::Sentinels(sentinels) => &sentinels.servers[..1],
            Self::Cluster(cluster) => &cluster.nodes[..3],
        }
    }
}

struct RedisLab {
    deployment: Deployment,
    log: Arc<RedisLog>,
}

impl RedisLab {
    async fn new(deployment: Deployment) -> Self {
        let log = open(deployment.config()).await;
        Self { deployment, log }
    }
}

#[async_trait]
impl Lab for RedisLab {
    fn log(&self) -> Arc<dyn Log> {
        Arc::<RedisLog>::clone(&self.log)
    }

    async fn second(&self) -> Arc<dyn Log> {
        open(self.deployment.config()).await
    }

    async fn flush(&self) {
        for server in self.deployment.primaries() {
            let now = server.now().await;
            server.words::<()>("FLUSHALL").await;
            while server.now().await <= now {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    async fn trim(&self, log: &LogName, keep: usize) {
        for server in self.deployment.primaries() {
            // The stars in the name of a space match themselves, too.
            let keys: Vec<String> = server.words(&format!("KEYS e:*:{log}")).await;
            if let [stream] = &keys[..] {
                server.words::<()>(&format!("XTRIM {stream} MAXLEN {keep}")).await;
                return;
            }
        }
        panic!("the log has a stream");
    }
}

async fn lab() -> RedisLab {
    RedisLab::new(Deployment::Single(Server::start().await)).await
}

// On a single server each check is a test of its own, with its own server.
event_log::conformance!(lab);

macro_rules! names {
    ({ } $($module:ident { $($check:ident)* })*) => {
        /// The names of all checks.
        const CHECKS: &[&str] = &[$($(stringify!($check),)*)*];
    };
}

event_log::conformance_checks! { names {} }

/// Runs all checks one after the other, because these deployments are slow to start. No check depends
/// on the topics of another.
async fn conforms(deployment: Deployment) {
    let mut lab = RedisLab::new(deployment).await;
    for name in CHECKS {
        // Each check begins with a new node.
        lab.log = open(lab.deployment.config()).await;
        eprintln!("{name}");
        check(name, &lab).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_sentinels() {
    conforms(Deployment::Sentinels(Sentinels::start().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster() {
    conforms(Deployment::Cluster(Cluster::start().await)).await;
}
