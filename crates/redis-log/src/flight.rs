//! Flights: one read for all readers that want the same page at the same time.
//!
//! After an outage the readers of a busy topic stand at one position, behind the window, and ask for
//! the same page in the same moment. One read goes to Redis, and all share its page. Any of them may
//! be dropped meanwhile, with its runtime; the others continue the read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_log::{LogName, Page, Position};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::error::Failure;
use crate::store::ReadPlan;

type PageRead = Result<Page, Failure>;
/// A topic, a position and the events that are asked for.
type PageKey = (LogName, Position, ReadPlan);

/// The reads under way: at most one for each waiting reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<PageKey, Flight>>>);

type Flight = WeakShared<BoxFuture<'static, PageRead>>;

impl Flights {
    /// Joins the read of this page, or makes it. Returns true if it was made for the caller. The read
    /// must not depend on the caller's runtime.
    pub(crate) fn join<F>(
        &self,
        key: PageKey,
        read: impl FnOnce() -> F,
    ) -> (bool, Shared<BoxFuture<'static, PageRead>>)
    where
        F: Future<Output = PageRead> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return (false, flight);
        }
        let landing = Landing { flights: self.clone(), key: key.clone() };
        let read = read();
        let flight = async move {
            let _landing = landing;
            read.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        (true, flight)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<PageKey, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a flight when it has ended, or when its last reader is dropped.
struct Landing {
    flights: Flights,
    key: PageKey,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.flights().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    fn key(n: u64) -> PageKey {
        (LogName::parse("t").unwrap(), Position::new(1, n), ReadPlan { count: 128, fit: None })
    }

    #[tokio::test]
    async fn many_readers_of_a_page_cost_one_read() {
        let (flights, reads, go) =
            (Flights::default(), AtomicUsize::new(0), Arc::new(Notify::new()));
        let join = |n| {
            flights.join(key(n), || {
                reads.fetch_add(1, Ordering::Relaxed);
                let go = Arc::clone(&go);
                async move {
                    go.notified().await;
                    Ok(Page::default())
                }
            })
        };
        let waiting: Vec<_> = (0..100).map(|_| join(1)).collect();
        assert_eq!(waiting.iter().filter(|(first, _)| *first).count(), 1);
        go.notify_one();
        join_all(waiting.into_iter().map(|(_, flight)| flight)).await;
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(flights.flights().is_empty());

        // A read that was dropped is not joined.
        drop(join(1));
        assert!(join(1).0);
    }
}
