//! Watches files for changed contents.
//!
//! Compares contents, because Kubernetes replaces a secret through a symbolic link, and other tools keep
//! the times of a file or rewrite it in place. Absent: file system events, which some volumes lack.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Time between two reads. Certificates are renewed days before they expire, and the steps of a key
/// rotation are hours apart, so a change need not be noticed sooner.
pub(crate) const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// Calls `changed` with the value of `read` each time that it differs from the last one. Never returns.
pub(crate) async fn follow<T, R>(mut seen: T, read: R, mut changed: impl FnMut(&T))
where
    T: PartialEq + Send + 'static,
    R: Fn() -> T + Clone + Send + 'static,
{
    loop {
        sleep(RELOAD_EVERY).await;
        let now = spawn_blocking(read.clone()).await.expect("reading does not panic");
        if now != seen {
            changed(&now);
            seen = now;
        }
    }
}
