//! The connections to one primary: a pool for reads, and a lane for appends.

use std::collections::{BTreeSet, HashMap};
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
use crate::topology::Topology;
use crate::witness::Witnesses;

/// The connections to a primary.
#[derive(Debug)]
pub(crate) struct Peer {
    pool: Mutex<Pool>,
    timeout: Duration,
    /// The way of appends.
    pub(super) lane: Lane,
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

/// The peers of all primaries.
#[derive(Debug)]
pub(crate) struct Peers {
    topology: Arc<Topology>,
    appending: Appending,
    stats: Arc<Stats>,
    access: Access,
    size: usize,
    /// True if a server may be demoted and keep its connections.
    demotable: bool,
    peers: Mutex<HashMap<Address, Arc<Peer>>>,
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

    /// Returns the peer at an address; the first use makes it. A server that serves nothing yet is a
    /// guest: it is asked only for a slot that is moving there.
    pub(crate) fn get(&self, address: &Address, guest: bool) -> Result<Arc<Peer>, Failure> {
        let mut peers = self.peers();
        if let Some(peer) = peers.get(address) {
            return Ok(Arc::clone(peer));
        }
        // Under the lock: `retain` runs after a change of the map, and then finds this peer.
        if !guest && !self.topology.map().serves(address) {
            let gone = format!("{address} is no primary any more");
            return Err(Failure::NoPrimary(gone.into()));
        }
        let peer = Arc::new(self.connect(address).map_err(Failure::Unreached)?);
        peers.insert(address.clone(), Arc::clone(&peer));
        Ok(peer)
    }

    /// The way to connect to a server.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// The peer at an address, if there is one.
    pub(crate) fn find(&self, address: &Address) -> Option<Arc<Peer>> {
        self.peers().get(address).cloned()
    }

    /// Closes the connections to all other servers. Nothing may be written to a server that is no
    /// primary any more, even if the server has not noticed.
    pub(crate) fn retain(&self, primaries: &BTreeSet<Address>) {
        self.peers().retain(|address, peer| {
            let keep = primaries.contains(address);
            if !keep {
                peer.pool().close();
                peer.lane.close();
            }
            keep
        });
    }

    /// Gives each peer a pool with the credentials of the moment. Connections that are lent stay to the end
    /// of their use, and the lane keeps its own.
    pub(crate) fn renew(&self) {
        for (address, peer) in self.peers().iter() {
            match self.pool(address) {
                Ok(pool) => peer.renew(pool),
                Err(error) => tracing::error!(%address, error = plain(error), "no new pool"),
            }
        }
    }

    fn connect(&self, address: &Address) -> Result<Peer, RedisError> {
        let patience = self.access.connect_timeout + self.access.timeout;
        let writer = Writer::new(
            address.clone(),
            self.access.clone(),
            self.appending.clone(),
            self.demotable,
        );
        let pool = Mutex::new(self.pool(address)?);
        let (lane, task) = Lane::new(writer, self.life.token(), patience, Arc::clone(&self.stats));
        self.life.spawn_to_end(task);
        Ok(Peer {
            pool,
            timeout: patience,
            lane,
            reads: Semaphore::new(self.size / 2),
            life: self.life.clone(),
        })
    }

    fn pool(&self, address: &Address) -> Result<Pool, RedisError> {
        let Access { connect_timeout, timeout, .. } = self.access;
        let manager = Manager::new_with_config(self.access.info(address)?, self.access.limits())?;
        let demotable = self.demotable;
        let pool = Pool::builder(manager)
            .max_size(self.size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(connect_timeout + timeout))
            .recycle_timeout(Some(timeout))
            .post_create(Hook::async_fn(move |connection, _| {
                Box::pin(async move { suits(connection, demotable).await })
            }))
            .build()
            .expect("a runtime is set");
        Ok(pool)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<Address, Arc<Peer>>> {
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

    /// Drops the idle connections: the server may have changed.
    pub(crate) fn distrust(&self) {
        self.pool().retain(|_, _| false);
        self.lane.distrust();
    }

    /// Replaces the pool.
    fn renew(&self, pool: Pool) {
        let mut old = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *old, pool).close();
    }

    fn pool(&self) -> Pool {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until fewer readers than the bound read from this primary.
    pub(crate) async fn read_turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.reads.acquire().await.map_err(|_| Failure::Closed)
    }
}

/// Refuses a server that the log cannot use.
async fn suits(connection: &mut impl ConnectionLike, demotable: bool) -> Result<(), HookError> {
    let server = ServerInfo::ask(connection, "server").await.map_err(HookError::Backend)?;
    server.refuse_old().map_err(HookError::message)?;
    if demotable {
        let server = ServerInfo::ask(connection, "replication").await;
        server.and_then(|server| server.refuse_replica()).map_err(HookError::Backend)?;
    }
    Ok(())
}
