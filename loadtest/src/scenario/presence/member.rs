//! A member: a client with a name that behaves as a browser, until it stays away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::sse::Connection;

/// A client. Dropping it closes its stream.
pub(super) struct RoomMember {
    back: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Clients of a gateway in a row that all come back, or all stay away.
const GROUP: usize = 7;
/// The longest that a stream takes to open.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// The pause of a client that was told none.
const RETRY: Duration = Duration::from_secs(2);

/// The name of a client.
pub(super) fn name(number: usize) -> String {
    format!("c-{number}")
}

impl RoomMember {
    /// Opens the stream of a client, at the gateway of its number.
    pub(super) async fn open(
        gateways: Arc<[SocketAddr]>,
        number: usize,
        topic: String,
    ) -> Result<Self> {
        let path = format!("/v1/events?topic={topic}&client={}", name(number));
        let at = number % gateways.len();
        let mut stream = connect(gateways[at], &path).await?;
        let back = Arc::<AtomicBool>::default();
        let came_back = Arc::clone(&back);
        let task = tokio::spawn(async move {
            let mut next = at;
            loop {
                while stream.next_event().await.is_some() {}
                if Self::stays_away(number, gateways.len()) {
                    return;
                }
                // A gateway that is dead refuses at once; the balancer of a browser tries another.
                sleep(stream.retry().unwrap_or(RETRY)).await;
                stream = loop {
                    next = (next + 1) % gateways.len();
                    if let Ok(stream) = connect(gateways[next], &path).await {
                        break stream;
                    }
                    sleep(Duration::from_millis(50)).await;
                };
                came_back.store(true, Relaxed);
            }
        });
        Ok(Self { back, task })
    }

    /// Returns true if the client does not come back once its stream has ended: half of a gateway's clients, in groups
    /// of seven, so that most topics have both kinds.
    pub(super) const fn stays_away(number: usize, gateways: usize) -> bool {
        !(number / gateways / GROUP).is_multiple_of(2)
    }

    pub(super) fn has_come_back(&self) -> bool {
        self.back.load(Relaxed)
    }
}

async fn connect(gateway: SocketAddr, path: &str) -> Result<Connection> {
    let mut stream = timeout(OPEN_MAX, Connection::open(gateway, path, &[])).await??;
    ensure!(stream.status() == 200, "{path} is answered with {}", stream.status());
    let first = timeout(OPEN_MAX, stream.next_event()).await?;
    let kind = first.as_ref().map(|event| event.event_type().to_owned());
    ensure!(kind.as_deref() == Some("tailwater.ready"), "{path} begins with {kind:?}");
    Ok(stream)
}

impl Drop for RoomMember {
    fn drop(&mut self) {
        self.task.abort();
    }
}
