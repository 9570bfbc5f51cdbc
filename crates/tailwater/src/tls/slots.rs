//! Slots for handshakes: a bounded number run at a time, and one address has its share of them.

use std::sync::Arc;
use std::time::Duration;

use limits::{AddressShare, Client, Held, Quota, Terms};
use metrics::Registry;
use tokio::time::sleep;

/// Gives out slots; clients wait for theirs.
#[derive(Debug)]
pub(crate) struct Slots(Arc<Quota>);

/// Maximum number of concurrent handshakes; further clients wait. When a gateway dies, its clients
/// connect to the others within seconds, and this limit bounds the memory of their handshakes.
const SLOTS: u64 = 1024;
/// The pause of a client that finds no slot, in milliseconds, from and to.
const PAUSE_MS: (u64, u64) = (50, 150);

impl Slots {
    pub(crate) fn new(share: AddressShare, registry: &Registry) -> Self {
        let terms = Terms::new("handshakes", "TLS handshakes", SLOTS, share);
        Self(Quota::new(terms, registry))
    }

    /// Waits for a slot.
    pub(super) async fn slot(&self, client: Client) -> Held {
        loop {
            match self.0.take(client, 1) {
                Ok(slot) => return slot,
                Err(_) => {
                    let pause = fastrand::u64(PAUSE_MS.0..=PAUSE_MS.1);
                    sleep(Duration::from_millis(pause)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;

    use super::*;

    fn client(last: u8) -> Client {
        Client { address: Some(IpAddr::from([10, 0, 0, last]).into()), connection: None }
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_waits_at_its_share_and_others_do_not() {
        let slots = Slots::new(AddressShare::default(), &Registry::new());
        let mut held: Vec<_> = Vec::new();
        for _ in 0..SLOTS / 2 {
            held.push(slots.slot(client(1)).now_or_never().unwrap());
        }
        let mut waiting = Box::pin(slots.slot(client(1)));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(slots.slot(client(2)).now_or_never().is_some());
        held.pop();
        waiting.await;
    }
}
