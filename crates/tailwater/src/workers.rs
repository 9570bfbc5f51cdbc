//! The workers of a node: the runtimes that serve its connections, one for each core.
//!
//! One worker serves a connection with all its streams. So no other core touches the connection, and the
//! streams of an HTTP/2 connection are written together (docs/adr/0010). On one core the only worker is
//! the runtime of the node itself, the home runtime, and no connection changes its thread.
//!
//! Absent: moving an open connection to another worker.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{self, JoinHandle, available_parallelism};

use metrics::Registry;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The workers among which connections are spread.
#[derive(Debug, Clone)]
pub(crate) struct Workers(Arc<[Worker]>);

/// A runtime that serves connections.
#[derive(Debug)]
pub(crate) struct Worker {
    runtime: Handle,
    /// True if connections are accepted on this runtime, so that none has to be handed over.
    is_home: bool,
    /// The tasks of its connections, one for each that is open.
    connections: TaskTracker,
}

/// Picks a worker for each new connection.
#[derive(Debug)]
pub(crate) struct Turns<'a> {
    workers: &'a Workers,
    /// The first worker to look at: connections that end at once leave all workers equal.
    next: usize,
}

/// The threads of workers beside the home runtime. When dropped, they end with all that is left on them.
#[derive(Debug)]
pub(crate) struct Threads {
    stop: CancellationToken,
    /// Cancelled when a thread ends.
    ended: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// The home runtime as the only worker. Call it within that runtime.
    pub(crate) fn home() -> Self {
        let connections = TaskTracker::new();
        Self([Worker { runtime: Handle::current(), is_home: true, connections }].into())
    }

    /// A worker for each core that this process may use: a thread each, or the home runtime if there is
    /// one core. Call it within the home runtime.
    ///
    /// # Errors
    /// A thread or its runtime cannot be started.
    pub(crate) fn for_each_core() -> io::Result<(Self, Threads)> {
        let mut threads = Threads::none();
        let workers = match available_parallelism().map_or(1, NonZero::get) {
            1 => Self::home(),
            cores => Self::start(cores, &mut threads)?,
        };
        Ok((workers, threads))
    }

    fn start(count: usize, threads: &mut Threads) -> io::Result<Self> {
        let worker = |index| {
            let stop = threads.stop.clone();
            let runtime = threads.start(index, stop.cancelled_owned())?;
            Ok(Worker { runtime, is_home: false, connections: TaskTracker::new() })
        };
        Ok(Self((0..count).map(worker).collect::<io::Result<_>>()?))
    }

    /// Exposes the open connections of each worker.
    pub(crate) fn register(&self, registry: &Registry) {
        for index in 0..self.0.len() {
            let workers = self.clone();
            registry.gauge_fn_of(
                "worker_connections",
                "Open connections of a worker, which is a thread that serves connections.",
                ("worker", &index.to_string()),
                move || workers.0[index].connections.len() as f64,
            );
        }
    }

    pub(crate) const fn turns(&self) -> Turns<'_> {
        Turns { workers: self, next: 0 }
    }

    /// Waits until no connection is open.
    pub(crate) async fn all_closed(&self) {
        for worker in &*self.0 {
            worker.connections.close();
            worker.connections.wait().await;
        }
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.0.iter().map(|worker| worker.connections.len()).sum()
    }
}

impl<'a> Turns<'a> {
    /// Returns the worker with the fewest open connections; of several, the one after the last.
    pub(crate) fn next(&mut self) -> &'a Worker {
        let workers = &self.workers.0;
        let count = workers.len();
        let index = (0..count)
            .map(|offset| (self.next + offset) % count)
            .min_by_key(|index| workers[*index].connections.len())
            .expect("a node has a worker");
        self.next = index + 1;
        &workers[index]
    }
}

impl Worker {
    /// Serves a connection on this worker. `serve` gets the tracker for tasks that go on after its own.
    ///
    /// A socket on its way to another thread waits in that runtime's queue, whose bound is the limit of
    /// open files.
    pub(crate) fn serve<F>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream, TaskTracker) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.connections.clone();
        if self.is_home {
            drop(self.connections.spawn(serve(stream, tasks)));
            return;
        }
        // The socket leaves the home runtime's poll, and joins the worker's.
        let handed_over = stream.into_std();
        let task = async move {
            match handed_over.and_then(TcpStream::from_std) {
                Ok(stream) => serve(stream, tasks).await,
                Err(error) => tracing::warn!(%error, "a connection was not handed to its worker"),
            }
        };
        drop(self.connections.spawn_on(task, &self.runtime));
    }
}

impl Threads {
    fn none() -> Self {
        let [stop, ended] = [CancellationToken::new(), CancellationToken::new()];
        Self { stop, ended, threads: Vec::new() }
    }

    /// Starts a thread with a runtime that runs until `stop`, and then drops its tasks.
    fn start(
        &mut self,
        index: usize,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Handle> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let ended = self.ended.clone().drop_guard();
        let run = move || {
            let _ended = ended;
            runtime.block_on(stop);
        };
        self.threads.push(thread::Builder::new().name(format!("worker-{index}")).spawn(run)?);
        Ok(handle)
    }

    /// Waits until a thread has ended, which none does before these are dropped, unless it panics.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;
    use tokio::time::sleep;

    fn workers(count: usize) -> (Workers, Threads) {
        let mut threads = Threads::none();
        (Workers::start(count, &mut threads).unwrap(), threads)
    }

    fn open(workers: &Workers) -> Vec<usize> {
        workers.0.iter().map(|worker| worker.connections.len()).collect()
    }

    async fn accepted() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        accepted.unwrap().0
    }

    /// Serves a connection until its end is cancelled. Returns when it is a task of its own, as an event
    /// stream becomes.
    async fn connect(worker: &Worker) -> CancellationToken {
        let end = CancellationToken::new();
        let ended = end.clone();
        let (tell, told) = oneshot::channel();
        worker.serve(accepted().await, move |_stream, tasks| async move {
            drop(tasks.spawn(async move {
                tell.send(()).unwrap();
                ended.cancelled().await;
            }));
        });
        told.await.unwrap();
        end
    }

    async fn settled(workers: &Workers, expected: &[usize]) {
        while open(workers) != expected {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_worker_with_the_fewest_open() {
        let (workers, _threads) = workers(3);
        let mut turns = workers.turns();
        let mut ends = Vec::new();
        for _ in 0..6 {
            ends.push(connect(turns.next()).await);
        }
        assert_eq!(open(&workers), [2, 2, 2]);
        ends[1].cancel();
        ends[4].cancel();
        settled(&workers, &[2, 0, 2]).await;
        for _ in 0..2 {
            ends.push(connect(turns.next()).await);
        }
        assert_eq!(open(&workers), [2, 2, 2]);
        ends.iter().for_each(CancellationToken::cancel);
        workers.all_closed().await;
        assert_eq!(workers.open(), 0);
    }

    #[tokio::test]
    async fn workers_with_as_many_connections_take_turns() {
        let (workers, _threads) = workers(2);
        let mut turns = workers.turns();
        let names: Vec<_> = (0..4).map(|_| turns.next().runtime.id()).collect();
        assert!(names[0] != names[1] && names[..2] == names[2..]);
    }

    #[tokio::test]
    async fn a_connection_and_its_tasks_run_on_the_thread_of_its_worker() {
        let (workers, _threads) = workers(2);
        let (tell, told) = mpsc::channel();
        let mut turns = workers.turns();
        for _ in 0..2 {
            let tell = tell.clone();
            turns.next().serve(accepted().await, move |stream, tasks| async move {
                let before = thread::current().id();
                drop(tasks.spawn(async move {
                    stream.writable().await.unwrap();
                    tell.send((before, thread::current().id())).unwrap();
                }));
            });
        }
        workers.all_closed().await;
        let threads: Vec<_> = told.try_iter().collect();
        assert!(threads.iter().all(|(before, after)| before == after));
        assert!(threads.len() == 2 && threads[0] != threads[1]);
    }

    #[tokio::test]
    async fn dropped_threads_end_with_the_connections_that_are_left() {
        let (workers, threads) = workers(2);
        let _end = connect(workers.turns().next()).await;
        drop(threads);
        assert_eq!(workers.open(), 0);
    }

    #[tokio::test]
    async fn a_worker_that_panics_is_noticed() {
        let mut threads = Threads::none();
        threads.start(0, async { panic!("on purpose") }).unwrap();
        threads.ended().await;
    }
}
