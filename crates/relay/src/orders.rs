//! Orders to cancel an answer that another relay reads: a reserved topic that every relay follows.

use std::sync::Arc;
use std::time::Duration;

use event_log::{
    Append, AppendError, Cursor, Event, Limit, Log, NewEvent, Origin, ReadError, Step, Topic,
};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::error::Refusal;
use crate::running::Running;

/// An order.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    cancel: String,
}

/// The pause before a log that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for the log.
const LOG_MAX: Duration = Duration::from_secs(5);

/// Gives an order to whichever relay reads the answer in a topic.
///
/// # Errors
/// The log has not stored it.
pub(crate) async fn give(log: &Arc<dyn Log>, topic: &Topic) -> Result<(), Refusal> {
    let order = Order { cancel: topic.to_string() };
    let data = serde_json::to_string(&order).expect("a name is JSON").into();
    let event = NewEvent { data, ..NewEvent::default() };
    let appended = timeout(LOG_MAX, log.append(vec![Append::new(orders(), event)])).await;
    let late = || AppendError::Unavailable("no answer".to_owned());
    let result = appended.map_or_else(|_| Some(Err(late())), |mut results| results.pop());
    let _receipt = result.expect("a log answers for every event")?;
    Ok(())
}

/// Follows the orders of other relays. Never ends.
pub(crate) async fn follow(log: &Arc<dyn Log>, running: &Running) {
    loop {
        let opened = Cursor::open(Arc::clone(log), vec![orders()], Origin::Latest);
        match timeout(LOG_MAX, opened).await {
            Ok(Ok((mut cursor, _))) => loop {
                match cursor.next(Limit::PAGE).await {
                    Step::Events { events, .. } => {
                        events.iter().for_each(|order| take(order, running))
                    }
                    Step::Gap { .. } => tracing::warn!("orders to cancel answers were lost"),
                    Step::Broken { .. } | Step::Reopened { .. } => {}
                    Step::End { .. } | Step::Finished => break,
                }
            },
            Ok(Err(ReadError::Unavailable(cause))) => {
                tracing::debug!(cause, "orders cannot be read");
            }
            Err(_) => tracing::debug!("the log did not open the orders in time"),
        }
        sleep(PAUSE).await;
    }
}

fn take(event: &Event, running: &Running) {
    let order: Option<Order> = serde_json::from_str(event.data()).ok();
    let topic = order.and_then(|order| Topic::new(&order.cancel).ok());
    if let Some(topic) = topic {
        running.cancel(&topic);
    }
}

fn orders() -> Topic {
    Topic::reserved("relay/orders").expect("it is a topic")
}
