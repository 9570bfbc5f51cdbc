//! The connections for commands to one primary.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::{Connection, Hook, HookError, Manager, Pool, Runtime};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::lane::Lane;
use super::writer::Writer;
use crate::access::Access;
use crate::address::Address;
use crate::config::Config;
use crate::error::Failure;
use crate::node::Life;
use crate::publish::{self, Publisher};
use crate::stats::Stats;
use crate::topology::Topology;
use crate::url::Kind;

/// Our connections to a primary.
#[derive(Debug)]
pub(crate) struct Peer {
    pool: Pool,
    timeout: Duration,
    /// The way of appends.
    pub(super) lane: Lane,
    /// Reads for readers that run at a time. A read may hold a page of the largest events; and half
    /// of the pool stays free for repairs and audits, however many readers are behind.
    reads: Semaphore,
}

/// All that are primaries now.
#[derive(Debug)]
pub(crate) struct Peers {
    topology: Arc<Topology>,
    publisher: Arc<Publisher>,
    stats: Arc<Stats>,
    config: Config,
    access: Access,
    size: usize,
    /// Whether a server may have been demoted without ending what it had with us.
    demotable: bool,
    peers: Mutex<HashMap<Address, Arc<Peer>>>,
    life: Life,
}

impl Peers {
    pub(crate) fn new(
        config: &Config,
        topology: Arc<Topology>,
        (publisher, stats): (Arc<Publisher>, Arc<Stats>),
        life: Life,
    ) -> Self {
        Self {
            topology,
            publisher,
            stats,
            config: config.clone(),
            access: config.access(),
            size: config.pool_size.max(2),
            demotable: matches!(config.url.kind, Kind::Sentinel { .. }),
            peers: Mutex::default(),
            life,
        }
    }

    /// The peer at an address, connected when it is first of use. One that serves nothing yet is
    /// only to be asked as the guest of a slot that is on its way there.
    pub(crate) fn get(&self, address: &Address, guest: bool) -> Result<Arc<Peer>, Failure> {
        let mut peers = self.peers();
        if let Some(peer) = peers.get(address) {
            return Ok(Arc::clone(peer));
        }
        // Asked under the lock: once the map has changed, `retain` comes after it.
        if !guest && !self.topology.map().serves(address) {
            let gone = format!("{address} is none any more");
            return Err(Failure::NoPrimary(gone.into()));
        }
        let peer = Arc::new(self.connect(address).map_err(Failure::Unreached)?);
        peers.insert(address.clone(), Arc::clone(&peer));
        Ok(peer)
    }

    /// The peer at an address, if there is one.
    pub(crate) fn find(&self, address: &Address) -> Option<Arc<Peer>> {
        self.peers().get(address).cloned()
    }

    /// Ends what there is with others than these: whoever is no primary any more must not be written
    /// to, even if it has not noticed.
    pub(crate) fn retain(&self, primaries: &BTreeSet<Address>) {
        self.peers().retain(|address, peer| {
            let keep = primaries.contains(address);
            if !keep {
                peer.pool.close();
                peer.lane.close();
            }
            keep
        });
    }

    fn connect(&self, address: &Address) -> Result<Peer, RedisError> {
        let Access { connect_timeout, timeout, .. } = self.access;
        let manager = Manager::new_with_config(self.access.info(address)?, self.access.limits())?;
        let demotable = self.demotable;
        let pool = Pool::builder(manager)
            .max_size(self.size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(connect_timeout + timeout))
            .recycle_timeout(Some(timeout))
            // A restarted server has lost the script, and all connections with it: loaded here, no
            // pipeline finds it missing half-way, which would upset the order of its appends.
            .post_create(Hook::async_fn(move |connection, _| {
                Box::pin(async move {
                    if demotable {
                        check_role(connection).await.map_err(HookError::Backend)?;
                    }
                    publish::load(connection).await.map_err(HookError::Backend)
                })
            }))
            .build()
            .expect("a runtime is set");
        let writer = Writer::new(address.clone(), &self.config, Arc::clone(&self.publisher));
        let patience = connect_timeout + timeout;
        let (lane, task) =
            Lane::new(writer, self.life.closing.child_token(), patience, Arc::clone(&self.stats));
        self.life.tasks.spawn(task);
        Ok(Peer {
            pool,
            timeout: connect_timeout + timeout,
            lane,
            reads: Semaphore::new(self.size / 2),
        })
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<Address, Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// A connection of one's own, for a while.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        // Boxed: a pool's future has room for a whole handshake, and thousands of readers may wait
        // for their turn with what would be inside of theirs. The time-out is for a server that has
        // fallen silent: the pool tries one idle connection after the other, each with a time of its
        // own.
        let connection = match timeout(self.timeout, Box::pin(self.pool.get())).await {
            Ok(connection) => connection.map_err(|error| Failure::of_pool(error, self.timeout)),
            Err(_) => Err(Failure::Late(self.timeout)),
        };
        if let Err(Failure::Late(_)) = connection {
            self.distrust();
        }
        connection
    }

    /// Drops the connections that nobody uses now: what is behind them is not what it was.
    pub(crate) fn distrust(&self) {
        self.pool.retain(|_, _| false);
        self.lane.distrust();
    }

    pub(crate) async fn read_turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.reads.acquire().await.map_err(|_| Failure::Closed)
    }
}

/// Refuses a replica: it answers reads with what it has so far, which would look like a loss.
async fn check_role(connection: &mut impl redis::aio::ConnectionLike) -> Result<(), RedisError> {
    let info: String = redis::cmd("INFO").arg("replication").query_async(connection).await?;
    match info.lines().any(|line| line.trim() == "role:master") {
        true => Ok(()),
        false => Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "it is a replica now").into()),
    }
}
