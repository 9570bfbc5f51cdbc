//! A deterministic executor for all actors of a schedule.
//!
//! Tokio wakes the tasks that wait for the same event in an order that differs between runs. Here a
//! wake-up only raises a flag, and actors with a raised flag are polled in the order in which they were
//! spawned, so that a schedule depends on its seed only. A group of actors can be killed or frozen like
//! a process.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

/// Actors that are killed and frozen together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group(pub(crate) u64);

/// The group of all actors outside the cluster. It is never killed.
pub(crate) const OUTSIDE: Group = Group(0);

/// A handle that spawns, kills, freezes and thaws actors.
#[derive(Clone, Default)]
pub(crate) struct Stage(Arc<Mutex<Vec<Order>>>);

type Act = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Order {
    Spawn(Group, Act),
    Kill(Group),
    Freeze(Group),
    Thaw(Group),
}

#[derive(Default)]
struct Cast {
    actors: Vec<Actor>,
    frozen: Vec<Group>,
    /// Wakes the task that polls the ensemble.
    waker: Arc<Mutex<Option<Waker>>>,
}

struct Actor {
    group: Group,
    act: Act,
    call: Arc<Call>,
    done: bool,
}

/// The waker of an actor, which raises its flag.
struct Call {
    raised: AtomicBool,
    ensemble: Arc<Mutex<Option<Waker>>>,
}

/// Maximum number of passes at one instant. More passes mean that an actor spins.
const PASSES_MAX: u32 = 20_000;

impl Stage {
    pub(crate) fn spawn(&self, group: Group, act: impl Future<Output = ()> + Send + 'static) {
        self.order(Order::Spawn(group, Box::pin(act)));
    }

    /// Ends all actors of a group before the next poll.
    pub(crate) fn kill(&self, group: Group) {
        self.order(Order::Kill(group));
    }

    pub(crate) fn freeze(&self, group: Group) {
        self.order(Order::Freeze(group));
    }

    pub(crate) fn thaw(&self, group: Group) {
        self.order(Order::Thaw(group));
    }

    /// Polls all actors until `root` is done.
    pub(crate) async fn play(&self, root: impl Future<Output = ()> + Send + 'static) {
        let mut root = Box::pin(root);
        let mut cast = Cast::default();
        // Unconstrained, because one tokio task polls all actors and would exhaust its budget.
        let all = poll_fn(|context| {
            *cast.waker.lock().unwrap() = Some(context.waker().clone());
            let over = root.as_mut().poll(context);
            if over.is_pending() {
                cast.act(self);
            }
            over
        });
        tokio::task::unconstrained(all).await;
    }

    fn order(&self, order: Order) {
        self.0.lock().unwrap().push(order);
    }
}

impl Cast {
    /// Polls until no actor has raised its flag at this instant.
    fn act(&mut self, stage: &Stage) {
        for _ in 0..PASSES_MAX {
            self.carry_out(stage);
            let mut polled = false;
            for i in 0..self.actors.len() {
                let Actor { group, act, call, done } = &mut self.actors[i];
                if *done || self.frozen.contains(group) || !call.raised.swap(false, Relaxed) {
                    continue;
                }
                polled = true;
                let waker = Waker::from(Arc::clone(call));
                *done = act.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                self.carry_out(stage);
            }
            self.actors.retain(|actor| !actor.done);
            if !polled {
                return;
            }
        }
        panic!("an actor spins: {PASSES_MAX} passes at one instant");
    }

    fn carry_out(&mut self, stage: &Stage) {
        loop {
            // A future that is dropped here may give further orders.
            let orders = std::mem::take(&mut *stage.0.lock().unwrap());
            if orders.is_empty() {
                return;
            }
            for order in orders {
                match order {
                    Order::Spawn(group, act) => {
                        let ensemble = Arc::clone(&self.waker);
                        let call = Arc::new(Call { raised: AtomicBool::new(true), ensemble });
                        self.actors.push(Actor { group, act, call, done: false });
                    }
                    Order::Kill(group) => {
                        for actor in self.actors.iter_mut().filter(|actor| actor.group == group) {
                            actor.done = true;
                            actor.act = Box::pin(async {});
                        }
                    }
                    Order::Freeze(group) => self.frozen.push(group),
                    Order::Thaw(group) => self.thaw(group),
                }
            }
        }
    }

    fn thaw(&mut self, group: Group) {
        self.frozen.retain(|frozen| *frozen != group);
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stage")
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Relaxed);
        if let Some(waker) = &*self.ensemble.lock().unwrap() {
            waker.wake_by_ref();
        }
    }
}
