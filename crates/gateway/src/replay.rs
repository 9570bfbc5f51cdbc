//! The rate at which subscribers get events that they had missed.
//!
//! A delivery at the tail is read once for all readers. A replay may be read from the log for one reader
//! alone, again and again, so a client gets a rate for it: a subject by its name, wherever it comes from, and
//! anybody else by its address.

use std::time::Duration;

use event_log::Event;
use limits::{Client, Rate, Rates, SubjectId, SubjectRates};

/// The part of an address's rate that one connection gets.
const CONNECTIONS_IN_ADDRESS: u64 = 4;
/// The time whose rate may be used at once, after a pause.
const BURST: Duration = Duration::from_secs(8);
/// Bytes that an address may use at once at least: the missed events of a page full of streams.
const ADDRESS_BURST_MIN: u64 = 64 * 1024 * 1024;
/// Bytes that an event counts besides its data, about as many as its fields have.
const FIELDS_BYTES: usize = 96;

/// The least rate of a subject, in bytes a second, so that a page arrives within a minute whatever its
/// credentials claim.
const SUBJECT_RATE_MIN: u64 = 64 * 1024;

/// The rates of replays, in bytes a second.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The rate of a subject whose credentials set no lower one; 0 is no limit.
    per_second: u64,
    rates: Rates,
    subjects: SubjectRates,
}

/// The party that pays for a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payer {
    pub(crate) client: Client,
    pub(crate) subject: Option<SubjectId>,
    /// The rate that its credentials set.
    pub(crate) claimed: Option<u64>,
}

impl Replay {
    /// So many bytes a second for one subject or address, and a quarter of that for a connection; 0 is no limit.
    pub(crate) fn new(per_second: u64) -> Self {
        Self { per_second, rates: rates(per_second), subjects: SubjectRates::default() }
    }

    /// Takes bytes, even such as are not there, and returns the time after which the party is not in debt.
    pub(crate) fn spend(&self, payer: Payer, bytes: u64) -> Duration {
        let Payer { client, subject, claimed } = payer;
        let Some(subject) = subject else { return self.rates.spend(client, bytes) };
        // The subject's rate stands in for that of its address.
        let own = self.rates.spend(Client { address: None, ..client }, bytes);
        match self.rate_of_subject(claimed) {
            Some(rate) => own.max(self.subjects.spend(subject, rate, bytes)),
            None => own,
        }
    }

    fn rate_of_subject(&self, claimed: Option<u64>) -> Option<Rate> {
        let is_limited = self.per_second > 0;
        match claimed.map(|claimed| claimed.max(SUBJECT_RATE_MIN)) {
            Some(claimed) if !is_limited || claimed < self.per_second => Some(rate(claimed, 0)),
            _ => is_limited.then(|| rate(self.per_second, ADDRESS_BURST_MIN)),
        }
    }
}

/// A rate with a burst of [`BURST`], or of more.
fn rate(per_second: u64, burst_min: u64) -> Rate {
    let burst = (per_second as f64 * BURST.as_secs_f64()).max(burst_min as f64);
    Rate { per_second: per_second as f64, burst }
}

/// The rates of an address and of a connection, in bytes; 0 a second is no limit.
fn rates(per_second: u64) -> Rates {
    let is_limited = per_second > 0;
    let connection = (per_second / CONNECTIONS_IN_ADDRESS).max(1);
    Rates::new(
        None,
        is_limited.then(|| rate(per_second, ADDRESS_BURST_MIN)),
        is_limited.then(|| rate(connection, ADDRESS_BURST_MIN / CONNECTIONS_IN_ADDRESS)),
    )
}

/// Returns the bytes that events count.
pub(crate) fn weight(events: &[Event]) -> u64 {
    events.iter().map(|event| (event.data().len() + FIELDS_BYTES) as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn payer(address: u8, subject: Option<u64>, claimed: Option<u64>) -> Payer {
        let address = Some(IpAddr::from([192, 0, 2, address]).into());
        let subject = subject.map(SubjectId::new);
        Payer { client: Client { address, connection: None }, subject, claimed }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subject_pays_by_its_name_and_others_by_their_address() {
        let replay = Replay::new(MIB);
        // 64 MiB at once, over two addresses.
        assert_eq!(replay.spend(payer(1, Some(7), None), 40 * MIB), Duration::ZERO);
        assert_eq!(replay.spend(payer(2, Some(7), None), 34 * MIB), Duration::from_secs(10));
        // Neither another subject behind the same address nor the address itself pays for it.
        assert_eq!(replay.spend(payer(1, Some(8), None), 64 * MIB), Duration::ZERO);
        assert_eq!(replay.spend(payer(1, None, None), 64 * MIB), Duration::ZERO);
        assert_eq!(replay.spend(payer(1, None, None), MIB), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_lower_the_rate_but_never_to_nothing() {
        let replay = Replay::new(MIB);
        let half = payer(1, Some(7), Some(MIB / 2));
        assert_eq!(replay.spend(half, 5 * MIB), Duration::from_secs(2), "8 s of it at once");
        let none = payer(1, Some(8), Some(0));
        assert_eq!(replay.spend(none, MIB), Duration::from_secs(8));
        let more = payer(1, Some(9), Some(100 * MIB));
        assert_eq!(replay.spend(more, 65 * MIB), Duration::from_secs(1));
        let unlimited = Replay::new(0);
        assert_eq!(unlimited.spend(payer(1, Some(7), None), 1 << 40), Duration::ZERO);
        assert_eq!(unlimited.spend(half, 5 * MIB), Duration::from_secs(2));
    }
}
