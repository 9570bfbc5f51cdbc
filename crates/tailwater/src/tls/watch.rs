//! Follows files by what they hold.
//!
//! Compares contents: Kubernetes swaps a secret by a symbolic link, and other tools keep the times of a
//! file or rewrite it in place. Absent: file system events, which not every volume delivers.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The pause between two looks: certificates are renewed days before they expire, and ticket keys
/// are rotated in steps that are hours apart.
pub(super) const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// Calls `changed` with the value of `read` each time that it differs from the last one. Never returns.
pub(super) async fn follow<T, R>(mut seen: T, read: R, mut changed: impl FnMut(&T))
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
