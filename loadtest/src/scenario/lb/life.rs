//! A stream that nobody publishes to, for as long as the run holds it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::client::sse::Connection;

/// The life of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Life {
    /// To the end of the run.
    Lived,
    /// Cut after so many seconds.
    Cut(f64),
    /// No byte of the body came.
    Silent,
    /// Another status than 200.
    Refused(u16),
}

/// Holds a stream with these seconds between heartbeats.
pub(super) async fn hold(web: SocketAddr, topic: &str, heartbeat: u32, time: Duration) -> Life {
    let path = format!("/v1/events?topic={topic}&heartbeat={heartbeat}");
    let begin = Instant::now();
    let until = begin + time;
    let mut stream = match timeout_at(until, Connection::open(web, &path, &[])).await {
        Err(_) => return Life::Silent,
        Ok(Err(_)) => return Life::Cut(begin.elapsed().as_secs_f64()),
        Ok(Ok(stream)) if stream.status() != 200 => return Life::Refused(stream.status()),
        Ok(Ok(stream)) => stream,
    };
    let mut has_begun = false;
    loop {
        match timeout_at(until, stream.next_event()).await {
            Ok(Some(_)) => has_begun = true,
            Ok(None) => return Life::Cut(begin.elapsed().as_secs_f64()),
            Err(_) if has_begun => return Life::Lived,
            Err(_) => return Life::Silent,
        }
    }
}
