//! Benchmarks of the path from an event to the bytes of a stream: the encoder, and the fan-out.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::Request;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use event_log::{Append, Log as _, MemoryLog, NewEvent, Retention, Topic};
use futures_util::FutureExt as _;
use gateway::{Config, Gateway};
use http_body_util::BodyExt as _;
use metrics::Registry;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A gateway and the bodies of its streams, without sockets.
struct Node {
    log: Arc<MemoryLog>,
    bodies: Vec<Body>,
    /// Drives the timers.
    runtime: Runtime,
}

impl Node {
    fn start(readers: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let log = Arc::new(MemoryLog::new(Retention::default()));
        let gateway = Gateway::new(Config::default(), log.clone(), &Registry::new());
        let door = gateway.door(Router::new());
        let bodies = runtime.block_on(async {
            let mut bodies = Vec::new();
            let peer = limits::Peer::new(([127, 0, 0, 1], 1).into());
            for _ in 0..readers {
                let request = Request::get("/v1/events?topic=orders").body(Body::empty());
                let answer = door.answer(request.expect("a good request"), peer);
                bodies.push(answer.await.into_body());
            }
            bodies
        });
        let mut node = Self { log, bodies, runtime };
        // Each stream begins with `ready`.
        node.take(1);
        node
    }

    fn publish(&self, bytes: usize) {
        let event = NewEvent { data: "x".repeat(bytes).into(), ..NewEvent::default() };
        let topic = Topic::new("orders").expect("a good name");
        let stored = self.log.append(vec![Append::new(topic, event)]).now_or_never();
        assert!(stored.expect("memory does not wait")[0].is_ok());
    }

    /// Takes `frames` frames from each stream, and asserts that no more are there.
    fn take(&mut self, frames: usize) {
        let _entered = self.runtime.enter();
        for body in &mut self.bodies {
            for _ in 0..frames {
                assert!(black_box(body.frame().now_or_never()).is_some());
            }
            assert!(!body.is_end_stream() && body.frame().now_or_never().is_none());
        }
    }
}

/// Delivers an event to the first reader, which encodes it for all readers. `bytes` is its size.
#[divan::bench(args = [0, 200, 16384], sample_size = 1)]
fn encode(bencher: Bencher<'_, '_>, bytes: usize) {
    let node = std::cell::RefCell::new(Node::start(1));
    bencher
        .with_inputs(|| node.borrow().publish(bytes))
        .bench_local_values(|()| node.borrow_mut().take(1));
}

/// Delivers an event to `readers` readers.
#[divan::bench(args = [1, 100, 5000], sample_size = 1)]
fn fan_out(bencher: Bencher<'_, '_>, readers: usize) {
    let node = std::cell::RefCell::new(Node::start(readers));
    bencher
        .counter(ItemsCount::new(readers))
        .with_inputs(|| node.borrow().publish(200))
        .bench_local_values(|()| node.borrow_mut().take(1));
}
