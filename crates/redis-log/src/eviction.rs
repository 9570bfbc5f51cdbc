//! Eviction: a server that deletes keys to make room takes events and the keys by which retries are known.
//!
//! Lost events are announced as gaps. A lost idempotency key is not: the retry of its event is stored twice. So
//! the log looks at the policy of its primaries as long as it is open.

use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::pace::every;
use crate::stats::{Stats, StoreMemory};
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
        let (mut evicting, mut fullest) = (None, None::<StoreMemory>);
        for primary in primaries {
            let Some(info) = store.memory(&primary).await else { continue };
            if fullest.is_none_or(|fullest| is_fuller(info.memory, fullest)) {
                fullest = Some(info.memory);
            }
            if let Some(policy) = info.evicts() {
                evicting = Some((primary, policy.to_owned()));
            }
        }
        stats.set_memory(fullest.unwrap_or_default());
        tell(last.as_ref(), evicting.as_ref());
        stats.set_evicts(evicting.is_some());
        last = evicting;
    }
}

/// Returns true if the one has a smaller part of its memory left than the other.
fn is_fuller(one: StoreMemory, other: StoreMemory) -> bool {
    let part = |memory: StoreMemory| match memory.max {
        0 => 0.0,
        max => memory.used as f64 / max as f64,
    };
    part(one) > part(other)
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
