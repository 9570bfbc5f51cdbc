//! The life of a log: the runtime that its tasks run on, and their end.
//!
//! Callers may come from several runtimes, and any of these may end before the log. So all tasks,
//! sockets and timers that outlive a call belong to the home runtime, in which the log was made.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::context::TokioContext;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Shared by everything that starts tasks for the log.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    home: Handle,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Life {
    /// Begins a life in the runtime of the caller, which becomes the home.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn begin() -> Self {
        Self {
            home: Handle::current(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Starts a task at home. The end of the log cancels it, at any of its awaits.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let closing = self.closing.clone();
        self.spawn_to_end(async move {
            closing.run_until_cancelled_owned(task).await;
        })
    }

    /// Starts a task at home that ends by itself, soon after its [`token`](Self::token) is cancelled.
    pub(crate) fn spawn_to_end(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.tasks.spawn_on(task, &self.home)
    }

    /// Gives the sockets, timers and tasks that a future makes to the home runtime. The caller still
    /// polls the future, and cancels it by dropping it.
    pub(crate) fn at_home<F: Future>(&self, future: F) -> TokioContext<F> {
        TokioContext::new(future, self.home.clone())
    }

    /// A token that the end of the log cancels.
    pub(crate) fn token(&self) -> CancellationToken {
        self.closing.child_token()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Ends the log when the guard is dropped.
    pub(crate) fn close_on_drop(&self) -> DropGuard {
        self.closing.clone().drop_guard()
    }

    /// Ends the log, and waits for the end of all its tasks.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
