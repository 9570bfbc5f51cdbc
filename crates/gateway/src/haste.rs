//! Refused clients that come back too soon.
//!
//! A refused client is told when to come back, and some do not listen: they would ask hundreds of times a second.
//! Such a client gets its answer late, so it asks less often.

use std::time::Duration;

use limits::{Client, Rate, Rates, SubjectId, SubjectRates};
use metrics::{IntCounter, Registry};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::drain::Phase;

/// The refusals that clients come for.
#[derive(Debug)]
pub(crate) struct Haste {
    addresses: Rates,
    subjects: SubjectRates,
    places: Semaphore,
    held: IntCounter,
}

/// Refusals of an address that are answered at once: as many as a page or an office needs.
const ADDRESS: Rate = Rate { per_second: 10.0, burst: 20.0 };
/// The same for a subject, which has its streams on some devices.
const SUBJECT: Rate = Rate { per_second: 2.0, burst: 10.0 };
/// The longest time that an answer is held.
const HOLD_MAX: Duration = Duration::from_secs(15);
/// The most answers that are held at a time. Others are answered at once.
const HELD_MAX: usize = 1024;

impl Haste {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            addresses: Rates::new(None, Some(ADDRESS), None),
            subjects: SubjectRates::default(),
            places: Semaphore::new(HELD_MAX),
            held: registry.counter(
                "refusals_held_total",
                "Refusals that were answered late because their clients come back too soon.",
            ),
        }
    }

    /// Waits as long as a client that is to be refused has come too soon, at most [`HOLD_MAX`]; not while the
    /// gateway leaves.
    pub(crate) async fn slow_down(
        &self,
        phase: &watch::Sender<Phase>,
        client: Client,
        subject: Option<SubjectId>,
    ) {
        let client = Client { connection: None, ..client };
        let of_address = self.addresses.spend(client, 1);
        let of_subject = subject.map(|subject| self.subjects.spend(subject, SUBJECT, 1));
        let pause = of_address.max(of_subject.unwrap_or_default()).min(HOLD_MAX);
        if pause.is_zero() {
            return;
        }
        let Ok(_place) = self.places.try_acquire() else { return };
        self.held.inc();
        let mut phase = phase.subscribe();
        let leaves = phase.wait_for(|phase| *phase != Phase::Serving);
        // Either way the client is answered now.
        let _over = timeout(pause, leaves).await;
    }
}
