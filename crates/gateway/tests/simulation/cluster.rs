//! The cluster: real gateways, each on its own simulated node, with channels in place of sockets.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use event_log::Log;
use gateway::{Config, Door, Gateway};
use http_body_util::BodyExt as _;
use metrics::Registry;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::ensemble::{Group, OUTSIDE};
use super::node::Node;
use super::wire;
use super::world::World;

#[derive(Debug)]
pub(crate) struct Cluster {
    world: Arc<World>,
    config: Mutex<Config>,
    window: usize,
    page: usize,
    groups: AtomicU64,
    slots: Mutex<Vec<Option<Up>>>,
}

/// A running gateway.
#[derive(Debug, Clone)]
pub(crate) struct Up {
    pub(crate) node: Arc<Node>,
    gateway: Gateway,
    door: Door,
    alive: Arc<AtomicBool>,
}

/// A client's end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) from: mpsc::Receiver<Sent>,
    alive: Arc<AtomicBool>,
}

/// A message from a gateway to its client.
#[derive(Debug)]
pub(crate) enum Sent {
    Head(StatusCode),
    Bytes(Bytes),
    /// The body is complete.
    End,
}

/// Writes that the buffers between the two ends hold.
const BUFFER: usize = 2;

impl Connection {
    /// Returns false if the gateway was killed, so that bytes under way may be lost.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }
}

impl Cluster {
    pub(crate) fn new(
        world: &Arc<World>,
        config: Config,
        count: usize,
        window: usize,
        page: usize,
    ) -> Arc<Self> {
        let cluster = Arc::new(Self {
            world: Arc::clone(world),
            config: Mutex::new(config),
            window,
            page,
            groups: AtomicU64::new(1),
            slots: Mutex::new(vec![None; count]),
        });
        (0..count).for_each(|slot| cluster.start(slot));
        cluster
    }

    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    pub(crate) fn up(&self, slot: usize) -> Option<Up> {
        self.slots()[slot].clone()
    }

    /// Starts a gateway, unless it is running.
    pub(crate) fn start(&self, slot: usize) {
        if self.up(slot).is_some() {
            return;
        }
        let group = Group(self.groups.fetch_add(1, Relaxed));
        self.world.note(format_args!("gateway {slot} starts"));
        let node = Node::start(&self.world, group, self.window, self.page);
        let config = Config { node: format!("g{slot}"), ..self.config.lock().unwrap().clone() };
        let gateway = Gateway::new(config, Arc::clone(&node) as Arc<dyn Log>, &Registry::new());
        let door = gateway.door(Router::new());
        let alive = Arc::new(AtomicBool::new(true));
        self.slots()[slot] = Some(Up { node, gateway, door, alive });
    }

    /// Ends a gateway at once, unless it has been replaced.
    pub(crate) fn kill(&self, slot: usize, group: Group) {
        let up = self.slots()[slot].take_if(|up| up.node.group == group);
        let Some(up) = up else { return };
        self.world.note(format_args!("gateway {slot} dies"));
        up.alive.store(false, Relaxed);
        self.world.leave(&up.node);
        self.world.stage.kill(group);
    }

    /// Starts a gateway after `time`.
    pub(crate) fn start_later(self: &Arc<Self>, slot: usize, time: Duration) {
        let cluster = Arc::clone(self);
        self.world.stage.spawn(OUTSIDE, async move {
            sleep(time).await;
            cluster.start(slot);
        });
    }

    /// Drains a gateway and ends it. Another one starts after `away`.
    pub(crate) fn drain(self: &Arc<Self>, slot: usize, [delay, window, away]: [Duration; 3]) {
        let Some(Up { node, gateway, .. }) = self.up(slot) else { return };
        let (cluster, group) = (Arc::clone(self), node.group);
        self.world.stage.spawn(group, async move {
            gateway.drain(delay, window, Duration::from_secs(2)).await;
            cluster.kill(slot, group);
            cluster.start_later(slot, away);
        });
    }

    /// Makes all gateways run, with connection slots for all clients.
    pub(crate) fn settle(&self) {
        let room = Config::default().max_connections;
        let full = std::mem::replace(&mut self.config.lock().unwrap().max_connections, room) < room;
        for slot in 0..self.len() {
            if let Some(up) = self.up(slot) {
                self.world.stage.thaw(up.node.group);
                if full {
                    self.kill(slot, up.node.group);
                }
            }
            self.start(slot);
        }
    }

    /// Sends a request. Returns `None` if no gateway runs in the slot.
    pub(crate) fn connect(&self, slot: usize, request: Request<Body>) -> Option<Connection> {
        let Up { node, door, alive, .. } = self.up(slot)?;
        let (to, from) = mpsc::channel(BUFFER);
        let world = Arc::clone(&self.world);
        self.world.stage.spawn(node.group, async move {
            // The gateway serves until the client leaves.
            tokio::select! {
                biased;
                () = to.closed() => {}
                _sent = serve(&world, door, request, &to) => {}
            }
        });
        Some(Connection { from, alive })
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Up>>> {
        self.slots.lock().unwrap()
    }
}

async fn serve(
    world: &Arc<World>,
    door: Door,
    request: Request<Body>,
    to: &mpsc::Sender<Sent>,
) -> Result<(), mpsc::error::SendError<Sent>> {
    let peer = limits::Peer::new(([127, 0, 0, 1], 1).into());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let response = door.answer(request, peer).await;
    to.send(Sent::Head(response.status())).await?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let bytes = frame.expect("a body does not fail").into_data().expect("no trailers");
        to.send(Sent::Bytes(wire::falsify(world, &query, bytes))).await?;
    }
    to.send(Sent::End).await
}
