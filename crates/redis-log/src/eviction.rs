//! Eviction: a server that deletes keys to make room takes events and the keys by which retries are known.
//!
//! Lost events are announced as gaps. A lost idempotency key is not: the retry of its event is stored twice. So
//! the log looks at the policy of its primaries as long as it is open.

use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::pace::every;
use crate::server::Eviction;
use crate::stats::Stats;
use crate::store::Store;
use crate::topology::Topology;

/// The time between two looks. An operator may change the policy at any time.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Looks at the primaries, and warns when one begins to evict. Never ends.
pub(crate) async fn watch(topology: Arc<Topology>, store: Arc<Store>, stats: Arc<Stats>) {
    let mut map = topology.subscribe();
    let mut ticks = every(LOOK_EVERY);
    let mut last = None;
    loop {
        ticks.tick().await;
        if map.wait_for(|map| !map.primaries().is_empty()).await.is_err() {
            return;
        }
        let primaries = map.borrow_and_update().primaries();
        let mut evicting = None;
        for primary in primaries {
            if let Some(Eviction::By(policy)) = store.eviction(&primary).await {
                evicting = Some((primary, policy));
                break;
            }
        }
        tell(last.as_ref(), evicting.as_ref());
        stats.set_evicts(evicting.is_some());
        last = evicting;
    }
}

/// Logs a change.
fn tell(last: Option<&(Address, String)>, now: Option<&(Address, String)>) {
    match now {
        Some((primary, policy)) if last != now => tracing::warn!(
            %primary,
            policy,
            "redis may evict events and idempotency keys: set maxmemory-policy noeviction"
        ),
        None if last.is_some() => tracing::info!("no primary is known to evict any more"),
        _ => {}
    }
}
