//! The delay of an event, and many streams at the same time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::installation::{self, Installation};

/// The events whose delay is measured.
const EVENTS: usize = 20;
/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest wait for an event.
const EVENT_MAX: Duration = Duration::from_secs(3);

/// The median of the time from the request of a publisher to the arrival of the event, in milliseconds;
/// `None` if an event does not arrive.
pub(super) async fn delay(installation: &Installation) -> Result<Option<f64>> {
    let topic = installation.topic("delay");
    let Ok(mut stream) = installation.open(&topic).await else {
        return Ok(None);
    };
    let mut delays = Vec::with_capacity(EVENTS);
    for number in 0..EVENTS {
        let sent = Instant::now();
        installation.publish(&topic, &number.to_string()).await?;
        match timeout(EVENT_MAX, stream.connection.next_event()).await {
            Ok(Some(_)) => delays.push(sent.elapsed().as_secs_f64() * 1000.0),
            _ => return Ok(None),
        }
        sleep(PAUSE).await;
    }
    delays.sort_by(f64::total_cmp);
    Ok(Some(delays[EVENTS / 2]))
}

/// Opens so many streams at once and returns the number of those that get an event.
pub(super) async fn living(installation: &Installation, streams: usize) -> Result<usize> {
    let topic: Arc<str> = installation.topic("crowd").into();
    let web = installation.web();
    let all_are_open = Arc::new(Barrier::new(streams + 1));
    let mut crowd = JoinSet::new();
    for _ in 0..streams {
        let (topic, all_are_open) = (Arc::clone(&topic), Arc::clone(&all_are_open));
        crowd.spawn(async move {
            let stream = installation::open(web, &topic).await;
            all_are_open.wait().await;
            let Ok(mut stream) = stream else { return false };
            let event = timeout(EVENT_MAX, stream.connection.next_event()).await;
            matches!(event, Ok(Some(_)))
        });
    }
    all_are_open.wait().await;
    installation.publish(&topic, "all").await?;
    let lives = crowd.join_all().await;
    Ok(lives.into_iter().filter(|lives| *lives).count())
}
