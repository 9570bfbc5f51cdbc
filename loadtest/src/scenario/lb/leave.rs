//! The time after which a gateway notices that a client has left.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout};

use super::installation::Installation;
use crate::client::http;

/// A client of a stream with an event a second is noticed by then, or never.
const BUSY_MAX: Duration = Duration::from_secs(20);
/// The same for a stream that has nothing but heartbeats every 15 s.
const QUIET_MAX: Duration = Duration::from_secs(75);
/// The time in which a stream reaches a gateway.
const SETTLE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// Requests that leave connections to the gateways open, where the load balancer keeps them.
const EARLIER: usize = 4;

/// Opens a stream, after some other requests as in an hour of work, leaves it, and waits until no gateway counts it. `None` if that takes too long.
/// No other stream of this installation may open or end meanwhile.
pub(super) async fn noticed(
    installation: &Installation,
    is_busy: bool,
) -> Result<Option<Duration>> {
    let topic = installation.topic(if is_busy { "busy" } else { "quiet" });
    for _ in 0..EARLIER {
        // One that holds answers back, or answers with an error, serves the stream in the same way.
        timeout(SETTLE, http::get(installation.web(), "/")).await.ok();
    }
    let before = installation.connections().await?;
    // A load balancer that holds the stream back has opened it all the same.
    let stream = timeout(SETTLE, installation.open(&topic)).await;
    let opened = Instant::now();
    while installation.connections().await? == before && opened.elapsed() < SETTLE {
        sleep(POLL).await;
    }
    drop(stream);
    let left = Instant::now();
    let mut next_event = left;
    let patience = if is_busy { BUSY_MAX } else { QUIET_MAX };
    while left.elapsed() < patience {
        if installation.connections().await? <= before {
            return Ok(Some(left.elapsed()));
        }
        if is_busy && Instant::now() >= next_event {
            installation.publish(&topic, "tick").await?;
            next_event += Duration::from_secs(1);
        }
        sleep(POLL).await;
    }
    Ok(None)
}
