//! Deployments of several servers: under sentinels, or as a cluster.

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep};

use crate::server::{Server, free_port};
use crate::support::DEADLINE;

/// Waits until the answer to a command is the expected one.
pub(crate) async fn until<T: redis::FromRedisValue>(
    server: &Server,
    command: &str,
    holds: impl Fn(&T) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Ok(answer) = server.try_words(command).await
            && holds(&answer)
        {
            return;
        }
        assert!(Instant::now() < deadline, "not within the deadline: {command}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a primary has heard its replica: only then the stream of commands begins, up to a
/// second after the link is up.
pub(crate) async fn until_replica_speaks(primary: &Server) {
    let speaks = |info: &String| {
        info.contains("state=online")
            && !info.contains("offset=0,")
            && !info.contains("wait_bgsave")
    };
    until(primary, "INFO replication", speaks).await;
}

/// A primary and its replicas under three sentinels.
pub(crate) struct Sentinels {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

/// While a primary is down, sentinels ask replicas once a second, and promote none that they have not heard of for
/// five times the period of pings.
const HASTE: &str =
    "SENTINEL DEBUG INFO-PERIOD 200 PUBLISH-PERIOD 200 ASK-PERIOD 100 PING-PERIOD 300";

impl Sentinels {
    pub(crate) async fn start() -> Self {
        Self::with_replicas(1).await
    }

    pub(crate) async fn with_replicas(replicas: usize) -> Self {
        let mut servers = vec![Server::start().await];
        let primary = servers[0].host_port();
        for _ in 0..replicas {
            servers.push(Server::with(&["--replicaof", &primary]).await);
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let sentinel = Server::sentinel(servers[0].port(), "").await;
            // By default sentinels talk every few seconds, which is too slow for a test.
            sentinel.words::<()>(HASTE).await;
            sentinels.push(sentinel);
        }
        let this = Self { servers, sentinels };
        this.settled().await;
        this
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }

    /// The index of the server that the sentinels name.
    pub(crate) async fn primary(&self) -> usize {
        let (_, port): (String, u16) =
            self.sentinels[0].words("SENTINEL GET-MASTER-ADDR-BY-NAME main").await;
        self.servers.iter().position(|server| server.port() == port).unwrap()
    }

    /// Waits until the sentinels know each other and the replicas, and the replicas follow.
    pub(crate) async fn settled(&self) {
        let replicas = self.servers.len() - 1;
        for sentinel in &self.sentinels {
            until(sentinel, "SENTINEL CKQUORUM main", |_: &String| true).await;
            until(sentinel, "SENTINEL SENTINELS main", |others: &Vec<Value>| others.len() == 2)
                .await;
            until(sentinel, "SENTINEL REPLICAS main", |known: &Vec<Value>| known.len() == replicas)
                .await;
        }
        let primary = self.primary().await;
        let linked = |info: &String| info.contains("master_link_status:up");
        for (i, server) in self.servers.iter().enumerate() {
            if i != primary {
                until(server, "INFO replication", linked).await;
            }
        }
        until_replica_speaks(&self.servers[primary]).await;
    }

    /// Waits until all sentinels name another primary.
    pub(crate) async fn other_primary(&self, than: usize) {
        let old = self.servers[than].port();
        for sentinel in &self.sentinels {
            let command = "SENTINEL GET-MASTER-ADDR-BY-NAME main";
            until(sentinel, command, |(_, port): &(String, u16)| *port != old).await;
        }
    }
}

/// Three primaries, each with a replica.
pub(crate) struct Cluster {
    /// The first primaries, and then their replicas in the same order.
    pub(crate) nodes: Vec<Server>,
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

impl Cluster {
    pub(crate) async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..2 * PRIMARIES {
            let bus = free_port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            let args = [&args[..], &["--cluster-port", &bus]];
            nodes.push(Server::with(&args.concat()).await);
            buses.push(bus);
        }
        for (i, node) in nodes.iter().enumerate() {
            node.words::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", i + 1)).await;
            if i < PRIMARIES {
                let (first, last) = (i * SLOTS / PRIMARIES, (i + 1) * SLOTS / PRIMARIES - 1);
                node.words::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
            }
            if i > 0 {
                let met = format!("CLUSTER MEET {} {}", nodes[0].host_port(), buses[0]);
                node.words::<()>(&met).await;
            }
        }
        let known = format!("cluster_known_nodes:{}", 2 * PRIMARIES);
        for node in &nodes {
            until(node, "CLUSTER INFO", |info: &String| info.contains(&known)).await;
        }
        for i in 0..PRIMARIES {
            let id: String = nodes[i].words("CLUSTER MYID").await;
            let replica = &nodes[PRIMARIES + i];
            until(replica, &format!("CLUSTER REPLICATE {id}"), |_: &String| true).await;
        }
        let this = Self { nodes };
        this.settled().await;
        this
    }

    /// Makes a replica the primary, and waits until the old one follows it.
    pub(crate) async fn switch_over(&self, replica: usize) {
        let replica = &self.nodes[replica];
        replica.words::<()>("CLUSTER FAILOVER").await;
        let leads = |info: &String| info.contains("role:master") && info.contains("state=online");
        until(replica, "INFO replication", leads).await;
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> =
            self.nodes.iter().take(2).map(|n| format!("127.0.0.1:{}", n.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Waits until every node finds the cluster well and every primary has its replica.
    pub(crate) async fn settled(&self) {
        for node in &self.nodes {
            let well = |info: &String| {
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            };
            until(node, "CLUSTER INFO", well).await;
            until(node, "INFO replication", |info: &String| {
                info.contains("state=online") || info.contains("master_link_status:up")
            })
            .await;
            if node.words::<String>("INFO replication").await.contains("role:master") {
                until(node, "WAIT 1 100", |replicas: &u32| *replicas == 1).await;
            }
        }
    }
}
