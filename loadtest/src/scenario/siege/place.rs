//! The bytes that Redis sends so that a gateway finds a place from the end of a topic.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::timeout;

use super::ends::COLUMNS;
use super::target::{Besieged, Store};
use crate::client::sse::Connection;
use crate::report::SheetRow;

/// Events of the topic, and the bytes of each.
const EVENTS: usize = 900;
const EVENT_BYTES: usize = 4096;
/// The place, in events from the end.
const BACK: usize = 890;
/// Streams of each kind.
const STREAMS: usize = 10;
/// Bytes that Redis may send for a place.
const PLACE_BYTES_MAX: f64 = 4096.0;
/// The longest wait for an event.
const EVENT_MAX: Duration = Duration::from_secs(10);

/// Reads the same events from a place from the end and from its cursor. A replay costs the same in both,
/// so the difference is the cost of the place.
pub(super) async fn run(program: &Path) -> Result<SheetRow> {
    let target = Besieged::start(program, Store::Redis, &[]).await?;
    target.fill("back", EVENTS, EVENT_BYTES).await?;
    let back = format!("/v1/events?topic=back&from=-{BACK}");
    // The first stream warms the gateway up, and tells the cursor of the place.
    let cursor = read(target.addr(), &back, None).await?;
    let by_cursor = sent(&target, "/v1/events?topic=back", Some(&cursor)).await?;
    let from_end = sent(&target, &back, None).await?;
    let place = from_end - by_cursor;
    let failure = format!("Redis sent {place:.0} bytes for a place");
    let mut cells = vec![
        "place from the end".to_owned(),
        "redis".to_owned(),
        format!("{STREAMS} streams from=-{BACK}"),
    ];
    cells.resize(COLUMNS - 1, "–".to_owned());
    cells.push(format!("{place:.0} B"));
    Ok(SheetRow {
        about: format!(
            "Redis sent {from_end:.0} bytes for a stream from the place, {by_cursor:.0} from its cursor."
        ),
        cells,
        failures: (place > PLACE_BYTES_MAX).then_some(failure).into_iter().collect(),
        notes: Vec::new(),
        plots: Vec::new(),
        marks: Vec::new(),
        raw: json!({ "from_end": from_end, "by_cursor": by_cursor }),
    })
}

/// Reads so many streams, and returns the bytes that Redis sent for one.
async fn sent(target: &Besieged, path: &str, cursor: Option<&str>) -> Result<f64> {
    let before = target.redis_sent().await?;
    for _ in 0..STREAMS {
        read(target.addr(), path, cursor).await?;
    }
    let sent = target.redis_sent().await?.saturating_sub(before);
    Ok(sent as f64 / STREAMS as f64)
}

/// Reads one stream up to the last event, and returns the cursor that it began at.
async fn read(target: SocketAddr, path: &str, cursor: Option<&str>) -> Result<String> {
    let headers: Vec<_> = cursor.iter().map(|cursor| ("last-event-id", *cursor)).collect();
    let mut stream = Connection::open(target, path, &headers).await?;
    let mut next =
        async || timeout(EVENT_MAX, stream.next_event()).await?.context("the stream ended");
    let ready = next().await?;
    ensure!(ready.event_type() == "tailwater.ready", "{} came first", ready.event_type());
    for _ in 0..BACK {
        let event = next().await?;
        ensure!(event.data.len() == EVENT_BYTES, "an event has {} bytes", event.data.len());
    }
    Ok(ready.id)
}
