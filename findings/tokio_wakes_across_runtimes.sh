#!/usr/bin/env bash
# tokio 1.54.1: a wake-up from another thread costs a system call for EACH task of a current-thread runtime.
#
# Many programs run one current-thread runtime for each core, so that a connection and all its tasks stay on one
# thread. A broadcast then wakes tasks of every runtime. One would expect the runtime to be unparked once: the first
# wake-up has made its eventfd readable, and the thousands that follow find it so. That is how the multi-thread
# scheduler behaves, which unparks a worker only while it is idle. The current-thread scheduler writes to its eventfd
# at every single wake-up, whether or not the runtime is already running.
#
# The program parks TASKS tasks on one `Notify`, calls `notify_waiters()` from a thread outside the runtime, and counts
# the write calls of that thread in /proc/thread-self/io (syscw). The remedy is to send one message to the runtime and
# to wake its tasks from a task of its own: local wake-ups write nothing.
#
# Seen on 2026-11-27, Linux 6.18, rustc 1.95.0, twice:
#   multi_thread from outside: 10000 tasks woken, few writes
#   current_thread from outside: 10000 tasks woken, 10000 writes or more
#   current_thread from a task of its own: 10000 tasks woken, few writes
#
# Needs cargo and the crates.io registry. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "wakes"
version = "0.0.0"
edition = "2021"

[dependencies]
tokio = { version = "=1.54.1", features = ["rt-multi-thread", "sync", "net"] }
TOML
cat >src/main.rs <<'RUST'
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

const TASKS: usize = 10_000;

/// The write calls of this thread so far.
fn writes() -> usize {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap();
    line.parse().unwrap()
}

/// Parks TASKS tasks on the runtime; the counter tells how many are parked, then how many have been woken.
fn park(handle: &Handle, notify: &Arc<Notify>) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..TASKS {
        let (notify, count) = (notify.clone(), count.clone());
        handle.spawn(async move {
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            count.fetch_add(1, SeqCst);
            notified.await;
            count.fetch_add(1, SeqCst);
        });
    }
    until(&count, TASKS);
    // A parked runtime, so that every case begins alike.
    std::thread::sleep(Duration::from_millis(200));
    count
}

fn until(count: &AtomicUsize, number: usize) {
    for _ in 0..3000 {
        if count.load(SeqCst) == number {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} of {number}", count.load(SeqCst));
}

fn report(name: &str, writes: usize) {
    let words = if writes >= TASKS { format!("{TASKS} writes or more") }
        else if writes < TASKS / 100 { "few writes".to_owned() }
        else { format!("{writes} writes") };
    println!("{name}: {TASKS} tasks woken, {words}");
}

fn from_outside(name: &str, handle: &Handle) {
    let notify = Arc::new(Notify::new());
    let count = park(handle, &notify);
    let before = writes();
    notify.notify_waiters();
    let made = writes() - before;
    until(&count, 2 * TASKS);
    report(name, made);
}

fn main() {
    let many: Runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    from_outside("multi_thread from outside", many.handle());

    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let one = Builder::new_current_thread().enable_all().build().unwrap();
        send.send(one.handle().clone()).unwrap();
        one.block_on(std::future::pending::<()>());
    });
    let one = receive.recv().unwrap();
    from_outside("current_thread from outside", &one);

    let notify = Arc::new(Notify::new());
    let count = park(&one, &notify);
    let (send, receive) = mpsc::channel();
    let before = writes();
    one.spawn(async move {
        let inside = writes();
        notify.notify_waiters();
        send.send(writes() - inside).unwrap();
    });
    let made = receive.recv().unwrap() + writes() - before;
    until(&count, 2 * TASKS);
    report("current_thread from a task of its own", made);
}
RUST
cargo build --release --quiet
target/release/wakes | tee seen
cat >expected <<'TEXT'
multi_thread from outside: 10000 tasks woken, few writes
current_thread from outside: 10000 tasks woken, 10000 writes or more
current_thread from a task of its own: 10000 tasks woken, few writes
TEXT
diff expected seen
echo "as described"
