//! Rates: things a second, for the node and for each address and connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bucket::Bucket;
pub use crate::bucket::Rate;
use crate::{Client, ClientAddress, ConnectionId, Part};

/// Things a second that clients may have. A part without a rate is unlimited.
#[derive(Debug)]
pub struct Rates {
    node: Option<Rate>,
    address: Option<Rate>,
    connection: Option<Rate>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    node: Option<Bucket>,
    /// A party that is not here has a full bucket.
    parties: HashMap<Party, Bucket>,
    /// The time at which full buckets were last dropped.
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Party {
    Address(ClientAddress),
    Connection(ConnectionId),
    /// All addresses beyond [`PARTIES_MAX`] parties together.
    OtherAddresses,
    /// All connections beyond them.
    OtherConnections,
}

/// Addresses and connections that have a bucket of their own at a time, about 5 MB. Those beyond share
/// one.
const PARTIES_MAX: usize = 65_536;
/// The number of parties below which nothing is dropped.
const SWEEP_MIN: usize = 1024;
/// The least time between two sweeps, each of which looks at all parties.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Rates {
    /// Rates for the node, for one address and for one connection.
    #[must_use]
    pub fn new(node: Option<Rate>, address: Option<Rate>, connection: Option<Rate>) -> Self {
        let buckets = Buckets { node: None, parties: HashMap::new(), swept: None };
        Self { node, address, connection, buckets: Mutex::new(buckets) }
    }

    /// Takes up to `most` whole tokens, as many as every part has, and returns their number and the part
    /// that had the fewest.
    pub fn take_up_to(&self, client: Client, most: u32) -> (u32, Part) {
        let now = Instant::now();
        let mut buckets = self.buckets();
        let parts = self.parts(client);
        let mut least = (f64::from(most), Part::Node);
        for (part, rate) in parts.into_iter().flatten() {
            let tokens = buckets.bucket(part, client, rate, now).tokens(rate, now);
            if tokens < least.0 {
                least = (tokens, part);
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to `most`")]
        let count = least.0.max(0.0).floor() as u32;
        self.spend_all(&mut buckets, client, f64::from(count), now);
        (count, least.1)
    }

    /// Gives tokens back that were not needed.
    pub fn give_back(&self, client: Client, count: u32) {
        if count > 0 {
            self.spend_all(&mut self.buckets(), client, -f64::from(count), Instant::now());
        }
    }

    /// Takes tokens, even such as are not there, and returns the time after which no part is in debt.
    pub fn spend(&self, client: Client, count: u64) -> Duration {
        let now = Instant::now();
        let mut buckets = self.buckets();
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        self.spend_all(&mut buckets, client, count as f64, now);
        let mut wait = 0.0_f64;
        for (part, rate) in self.parts(client).into_iter().flatten() {
            let tokens = buckets.bucket(part, client, rate, now).tokens(rate, now);
            wait = wait.max(-tokens / rate.per_second);
        }
        Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
    }

    /// The parts that limit a client, with their rates.
    fn parts(&self, client: Client) -> [Option<(Part, Rate)>; 3] {
        let with = |part| move |rate| (part, rate);
        [
            self.node.map(with(Part::Node)),
            client.address.and(self.address).map(with(Part::Address)),
            client.connection.and(self.connection).map(with(Part::Connection)),
        ]
    }

    fn spend_all(&self, buckets: &mut Buckets, client: Client, count: f64, now: Instant) {
        for (part, rate) in self.parts(client).into_iter().flatten() {
            let bucket = buckets.bucket(part, client, rate, now);
            bucket.tokens(rate, now);
            bucket.spend(count);
        }
        let is_due = buckets.swept.is_none_or(|last| now - last >= SWEEP_EVERY);
        if is_due && buckets.parties.len() >= SWEEP_MIN {
            buckets.swept = Some(now);
            self.sweep(buckets, now);
        }
    }

    /// Drops full buckets, which are as good as none.
    fn sweep(&self, buckets: &mut Buckets, now: Instant) {
        buckets.parties.retain(|party, bucket| {
            let rate = match party {
                Party::Address(_) | Party::OtherAddresses => self.address,
                Party::Connection(_) | Party::OtherConnections => self.connection,
            };
            rate.is_some_and(|rate| bucket.tokens(rate, now) < rate.burst)
        });
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    fn bucket(&mut self, part: Part, client: Client, rate: Rate, now: Instant) -> &mut Bucket {
        let own = match part {
            Part::Node | Part::Subject => None,
            Part::Address => client.address.map(|it| (Party::Address(it), Party::OtherAddresses)),
            Part::Connection => {
                client.connection.map(|it| (Party::Connection(it), Party::OtherConnections))
            }
        };
        let Some((own, others)) = own else {
            return self.node.get_or_insert_with(|| Bucket::full(rate, now));
        };
        let has_room = self.parties.len() < PARTIES_MAX || self.parties.contains_key(&own);
        let party = if has_room { own } else { others };
        self.parties.entry(party).or_insert_with(|| Bucket::full(rate, now))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(number: u32) -> Client {
        let address = IpAddr::from(number.to_be_bytes());
        Client { address: Some(address.into()), connection: None }
    }

    fn rate(per_second: f64) -> Option<Rate> {
        Some(Rate { per_second, burst: per_second * 2.0 })
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_gets_its_share_and_the_rest_is_left_for_others() {
        let rates = Rates::new(rate(10.0), rate(5.0), None);
        assert_eq!(rates.take_up_to(client(1), 64), (10, Part::Address));
        assert_eq!(rates.take_up_to(client(1), 1), (0, Part::Address));
        assert_eq!(rates.take_up_to(client(2), 9), (9, Part::Node));
        assert_eq!(rates.take_up_to(client(3), 9), (1, Part::Node));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rates.take_up_to(client(1), 64), (5, Part::Address));
        rates.give_back(client(1), 5);
        assert_eq!(rates.take_up_to(client(1), 64), (5, Part::Address));
    }

    #[tokio::test(start_paused = true)]
    async fn a_debt_is_waited_for() {
        let rates = Rates::new(None, rate(100.0), None);
        assert_eq!(rates.spend(client(1), 200), Duration::ZERO);
        assert_eq!(rates.spend(client(1), 100), Duration::from_secs(1));
        assert_eq!(rates.spend(client(2), 1), Duration::ZERO);
        assert_eq!(rates.spend(Client::TRUSTED, 1_000_000), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn parties_are_bounded_and_full_buckets_are_dropped() {
        let rates = Rates::new(None, rate(1.0), None);
        for number in 0..100_000 {
            rates.spend(client(number), 1);
        }
        assert!(rates.buckets().parties.len() <= PARTIES_MAX + 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        rates.spend(client(1), 1);
        assert!(rates.buckets().parties.len() <= 2, "{}", rates.buckets().parties.len());
    }
}
