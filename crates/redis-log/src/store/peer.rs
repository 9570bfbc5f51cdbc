//! The connections to one server: a pool for reads, and to a primary a lane for appends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::{Connection, Hook, HookError, Manager, Pool, Runtime};
use redis::RedisError;
use redis::aio::ConnectionLike;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::lane::Lane;
use super::proof::Proof;
use super::writer::Writer;
use crate::access::Access;
use crate::address::Address;
use crate::config::Config;
use crate::error::Failure;
use crate::life::Life;
use crate::plain::plain;
use crate::publish::Publisher;
use crate::server::ServerInfo;
use crate::stats::Stats;
use crate::topology::{Map, Topology};
use crate::url::Kind;
use crate::witness::Witnesses;

/// The part that a server plays for this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// It serves a partition.
    Primary,
    /// A node of a cluster that serves nothing yet, and is asked only for a slot that is moving there.
    Guest,
    /// A replica that this node reads from, or that must have what another one has.
    Replica,
}

/// The connections to a server.
#[derive(Debug)]
pub(crate) struct Peer {
    pool: Mutex<Pool>,
    timeout: Duration,
    /// The way of appends. `None` for a replica.
    lane: Option<Lane>,
    /// Reads for readers that run at the same time. A read may hold a page of the largest events; and
    /// half of the pool stays free for repairs and audits, however many readers are behind.
    reads: Semaphore,
    life: Life,
}

/// The parts that every writer of appends uses.
#[derive(Debug, Clone)]
pub(crate) struct Appending {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) witnesses: Arc<Witnesses>,
    pub(super) proof: Proof,
}

/// The peers of all primaries and sources.
#[derive(Debug)]
pub(crate) struct Peers {
    topology: Arc<Topology>,
    appending: Appending,
    stats: Arc<Stats>,
    access: Access,
    size: usize,
    /// True if a server may be demoted and keep its connections.
    demotable: bool,
    /// By address, with true for a replica.
    peers: Mutex<HashMap<(Address, bool), Arc<Peer>>>,
    life: Life,
}

impl Peers {
    pub(super) fn new(
        config: &Config,
        access: Access,
        topology: Arc<Topology>,
        appending: Appending,
        stats: &Arc<Stats>,
        life: &Life,
    ) -> Self {
        Self {
            topology,
            appending,
            stats: Arc::clone(stats),
            access,
            size: config.pool_size.max(2),
            demotable: config.url.kind.is_demotable(),
            peers: Mutex::default(),
            life: life.clone(),
        }
    }

    /// Returns the peer at an address; the first use makes it.
    pub(crate) fn get(&self, address: &Address, part: Part) -> Result<Arc<Peer>, Failure> {
        let key = (address.clone(), part == Part::Replica);
        let mut peers = self.peers();
        if let Some(peer) = peers.get(&key) {
            return Ok(Arc::clone(peer));
        }
        // Under the lock: `retain` runs after a change of the map, and then finds this peer.
        let map = self.topology.map();
        let gone = match part {
            Part::Primary if !map.serves(address) => Some("is no primary any more"),
            Part::Replica if !map.asks_replica(address) => Some("is not read from any more"),
            Part::Primary | Part::Guest | Part::Replica => None,
        };
        if let Some(gone) = gone {
            return Err(Failure::NoPrimary(format!("{address} {gone}").into()));
        }
        let peer = Arc::new(self.connect(address, part).map_err(Failure::Unreached)?);
        peers.insert(key, Arc::clone(&peer));
        Ok(peer)
    }

    /// The way to connect to a server.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Drops the idle connections to a server, which may have changed.
    pub(crate) fn distrust(&self, address: &Address) {
        let peers = self.peers();
        let parts = [false, true].map(|is_replica| peers.get(&(address.clone(), is_replica)));
        parts.into_iter().flatten().for_each(|peer| peer.distrust());
    }

    /// Closes the connections to all other servers than those of a map. Nothing may be written to a server that is no
    /// primary any more, even if the server has not noticed.
    pub(crate) fn retain(&self, map: &Map) {
        let primaries = map.primaries();
        self.peers().retain(|(address, is_replica), peer| {
            let is_primary = primaries.contains(address);
            let keep =
                if *is_replica { !is_primary && map.asks_replica(address) } else { is_primary };
            if !keep {
                peer.close();
            }
            keep
        });
    }

    /// Gives each peer a pool with the credentials of the moment. Connections that are lent stay to the end
    /// of their use, and the lane keeps its own.
    pub(crate) fn renew(&self) {
        for ((address, is_replica), peer) in self.peers().iter() {
            match self.pool(address, *is_replica) {
                Ok(pool) => peer.renew(pool),
                Err(error) => tracing::error!(%address, error = plain(error), "no new pool"),
            }
        }
    }

    fn connect(&self, address: &Address, part: Part) -> Result<Peer, RedisError> {
        let patience = self.access.connect_timeout + self.access.timeout;
        let is_replica = part == Part::Replica;
        Ok(Peer {
            pool: Mutex::new(self.pool(address, is_replica)?),
            timeout: patience,
            lane: (!is_replica).then(|| self.lane(address, patience)),
            reads: Semaphore::new(self.size / 2),
            life: self.life.clone(),
        })
    }

    fn lane(&self, address: &Address, patience: Duration) -> Lane {
        let writer = Writer::new(
            address.clone(),
            self.access.clone(),
            self.appending.clone(),
            self.demotable,
        );
        let (lane, task) = Lane::new(writer, self.life.token(), patience, Arc::clone(&self.stats));
        self.life.spawn_to_end(task);
        lane
    }

    fn pool(&self, address: &Address, is_replica: bool) -> Result<Pool, RedisError> {
        let Access { connect_timeout, timeout, .. } = self.access;
        let manager = Manager::new_with_config(self.access.info(address)?, self.access.limits())?;
        let suit = match is_replica {
            true => Suit::Replica { of_cluster: self.topology.kind() == &Kind::Cluster },
            false => Suit::Primary { demotable: self.demotable },
        };
        let pool = Pool::builder(manager)
            .max_size(self.size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(connect_timeout + timeout))
            .recycle_timeout(Some(timeout))
            .post_create(Hook::async_fn(move |connection, _| {
                Box::pin(async move { suit.check(connection).await })
            }))
            .build()
            .expect("a runtime is set");
        Ok(pool)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<(Address, bool), Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// Takes a connection out of the pool, or makes one.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        // At home: the pool lends the connection to callers of other runtimes, and its socket and task
        // must outlive this one. Boxed: the pool's future has room for a whole handshake, and
        // thousands of readers may wait for their turn. The time-out is for a silent server: the pool
        // tries one idle connection after the other, each with a time-out of its own.
        let pool = self.pool();
        let got = self.life.at_home(Box::pin(async move { pool.get().await }));
        let connection = match timeout(self.timeout, got).await {
            Ok(connection) => connection.map_err(|error| Failure::of_pool(error, self.timeout)),
            Err(_) => Err(Failure::Late(self.timeout)),
        };
        if let Err(Failure::Late(_)) = connection {
            self.distrust();
        }
        connection
    }

    /// The way of appends.
    ///
    /// # Errors
    /// The server is a replica.
    pub(super) fn lane(&self) -> Result<&Lane, Failure> {
        self.lane.as_ref().ok_or_else(|| Failure::NoPrimary("this is a replica".into()))
    }

    /// Drops the idle connections: the server may have changed.
    fn distrust(&self) {
        self.pool().retain(|_, _| false);
        if let Some(lane) = &self.lane {
            lane.distrust();
        }
    }

    fn close(&self) {
        self.pool().close();
        if let Some(lane) = &self.lane {
            lane.close();
        }
    }

    /// Replaces the pool.
    fn renew(&self, pool: Pool) {
        let mut old = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *old, pool).close();
    }

    fn pool(&self) -> Pool {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until fewer readers than the bound read from this server.
    pub(crate) async fn read_turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.reads.acquire().await.map_err(|_| Failure::Closed)
    }
}

/// The demands on a server.
#[derive(Debug, Clone, Copy)]
enum Suit {
    Primary { demotable: bool },
    Replica { of_cluster: bool },
}

impl Suit {
    /// Refuses a server that the log cannot use.
    async fn check(self, connection: &mut impl ConnectionLike) -> Result<(), HookError> {
        let server = ServerInfo::ask(connection, "server").await.map_err(HookError::Backend)?;
        server.refuse_old().map_err(HookError::message)?;
        if let Self::Primary { demotable: false } = self {
            return Ok(());
        }
        let server = ServerInfo::ask(connection, "replication").await;
        let server = server.map_err(HookError::Backend)?;
        match self {
            Self::Primary { .. } => server.refuse_replica(),
            Self::Replica { .. } => server.refuse_empty(),
        }
        .map_err(HookError::Backend)?;
        if let Self::Replica { of_cluster: true } = self {
            // Without it a replica sends its clients to the primary.
            let asked = redis::cmd("READONLY").exec_async(connection).await;
            asked.map_err(HookError::Backend)?;
        }
        Ok(())
    }
}
