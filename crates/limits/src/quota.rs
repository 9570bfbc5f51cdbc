//! A bounded number of places or bytes, of which each address and each connection gets a share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counters, Registry};
use tokio::time::Instant;

use crate::{AddressShare, Client, ClientAddress, ConnectionId, Full, Part};

/// The name and the bounds of a quota.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The label of its metrics, as `subscriptions`.
    pub name: &'static str,
    /// The things as an error names them, as `bytes of bodies`.
    pub things: &'static str,
    /// The flags that set the bounds, for an error.
    pub flag: &'static str,
    /// The bound of the node.
    pub max: u64,
    /// The bound of one address.
    pub address_max: u64,
    /// The bound of one connection, if there is one.
    pub connection_max: Option<u64>,
}

/// A bounded number of places or bytes.
///
/// Every take locks a mutex: take when something begins or grows, never for each event.
#[derive(Debug)]
pub struct Quota {
    terms: Terms,
    given: Mutex<Given>,
    refused: Counters<Part>,
}

#[derive(Debug, Default)]
struct Given {
    total: u64,
    addresses: HashMap<ClientAddress, u64>,
    connections: HashMap<ConnectionId, u64>,
    /// The time of the last log line about a bound that is reached.
    warned: Option<Instant>,
}

/// An amount that a client holds. Dropping it gives the amount back.
#[derive(Debug)]
pub struct Held {
    quota: Arc<Quota>,
    client: Client,
    amount: u64,
}

/// The least time between two log lines about a bound that is reached.
const WARN_EVERY: Duration = Duration::from_mins(1);

impl Terms {
    /// Terms by which one address gets its share, and a connection as much as its address.
    #[must_use]
    pub fn new(name: &'static str, things: &'static str, max: u64, share: AddressShare) -> Self {
        let address_max = share.of(max);
        Self { name, things, flag: "--address-share", max, address_max, connection_max: None }
    }
}

impl Quota {
    /// A quota that registers its metrics in `registry`.
    ///
    /// # Panics
    /// The registry has a quota of this name.
    #[must_use]
    pub fn new(terms: Terms, registry: &Registry) -> Arc<Self> {
        let label = ("limit", terms.name);
        let refused = registry.counters_within(
            "limit_refusals_total",
            "Requests and connections that a limit refused, by the part that was full.",
            label,
        );
        let quota = Arc::new(Self { terms, given: Mutex::default(), refused });
        let gauge = |name, help, read: fn(&Self) -> u64| {
            let quota = Arc::clone(&quota);
            registry.gauge_fn_of(name, help, label, move || read(&quota) as f64);
        };
        gauge("limit_max", "Most that a node gives out of a limited thing.", |quota| {
            quota.terms.max
        });
        gauge("limit_used", "Part of a limited thing that is given out.", |quota| quota.used());
        gauge("limit_address_max", "Most that one address gets of a limited thing.", |quota| {
            quota.terms.address_max
        });
        if let Some(max) = terms.connection_max {
            let help = "Most that one connection gets of a limited thing.";
            registry.gauge_fn_of("limit_connection_max", help, label, move || max as f64);
        }
        gauge(
            "limit_address_used",
            "Greatest part of a limited thing that one address has.",
            |q| q.given().addresses.values().max().copied().unwrap_or(0),
        );
        quota
    }

    /// Takes an amount for a client.
    ///
    /// # Errors
    /// The node, the address or the connection has reached its bound. Nothing is taken.
    pub fn take(self: &Arc<Self>, client: Client, amount: u64) -> Result<Held, Full> {
        self.add(client, amount)?;
        Ok(Held { quota: Arc::clone(self), client, amount })
    }

    /// The bounds.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns the amount that is given out.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.given().total
    }

    fn add(&self, client: Client, amount: u64) -> Result<(), Full> {
        let mut given = self.given();
        let Some((part, max)) = self.lacking(&given, client, amount) else {
            given.total += amount;
            for_each(&mut given, client, |held| *held += amount);
            return Ok(());
        };
        let is_due = part != Part::Connection && given.warns();
        drop(given);
        self.refused.of(part).inc();
        let Terms { name, things, flag, .. } = self.terms;
        match client.address.filter(|_| part == Part::Address) {
            Some(address) if is_due => tracing::warn!(
                limit = name,
                max,
                %address,
                "an address has reached its share; a load balancer belongs into --trusted-proxies"
            ),
            None if is_due => tracing::warn!(limit = name, max, "this node has reached a limit"),
            _ => {}
        }
        Err(Full { things, flag, part, max })
    }

    /// Returns the part that has no room for an amount, and its bound.
    fn lacking(&self, given: &Given, client: Client, amount: u64) -> Option<(Part, u64)> {
        let Terms { max, address_max, connection_max, .. } = self.terms;
        let held = client.address.and_then(|address| given.addresses.get(&address));
        let is_full = |held: u64, max: u64| held.saturating_add(amount) > max;
        if let Some(connection_max) = connection_max {
            let held = client.connection.and_then(|id| given.connections.get(&id));
            if client.connection.is_some() && is_full(held.copied().unwrap_or(0), connection_max) {
                return Some((Part::Connection, connection_max));
            }
        }
        if client.address.is_some() && is_full(held.copied().unwrap_or(0), address_max) {
            return Some((Part::Address, address_max));
        }
        is_full(given.total, max).then_some((Part::Node, max))
    }

    fn give_back(&self, client: Client, amount: u64) {
        let mut given = self.given();
        given.total -= amount;
        for_each(&mut given, client, |held| *held -= amount);
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Given {
    /// Returns true if the time for another log line has come.
    fn warns(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.warned.is_none_or(|last| now - last >= WARN_EVERY);
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }
}

/// Changes the entries of a client, of which none is kept at 0.
fn for_each(given: &mut Given, client: Client, change: impl Fn(&mut u64)) {
    fn one<K: Eq + Hash>(map: &mut HashMap<K, u64>, key: K, change: impl Fn(&mut u64)) {
        match map.entry(key) {
            Entry::Occupied(mut entry) => {
                change(entry.get_mut());
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
            Entry::Vacant(entry) => {
                let mut held = 0;
                change(&mut held);
                if held > 0 {
                    entry.insert(held);
                }
            }
        }
    }
    if let Some(address) = client.address {
        one(&mut given.addresses, address, &change);
    }
    if let Some(connection) = client.connection {
        one(&mut given.connections, connection, &change);
    }
}

impl Held {
    /// The party that holds it.
    #[must_use]
    pub const fn client(&self) -> Client {
        self.client
    }

    /// Returns the amount.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// Changes the amount.
    ///
    /// # Errors
    /// There is no room for more. The amount stays as it was.
    pub fn resize(&mut self, amount: u64) -> Result<(), Full> {
        match amount.checked_sub(self.amount) {
            Some(0) => {}
            Some(more) => self.quota.add(self.client, more)?,
            None => self.quota.give_back(self.client, self.amount - amount),
        }
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.quota.give_back(self.client, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use proptest::prelude::*;

    fn address(last: u8) -> ClientAddress {
        IpAddr::from([10, 0, 0, last]).into()
    }

    fn quota() -> Arc<Quota> {
        let terms = Terms::new("things", "things", 10, AddressShare::default());
        Quota::new(Terms { connection_max: Some(3), ..terms }, &Registry::new())
    }

    fn client(last: u8) -> Client {
        Client { address: Some(address(last)), connection: None }
    }

    fn part(taken: Result<Held, Full>) -> Part {
        taken.unwrap_err().part
    }

    #[test]
    fn an_address_and_a_connection_get_their_share_and_no_more() {
        let quota = quota();
        let connection = Some(ConnectionId::new());
        let on_it = Client { connection, ..client(1) };
        let first = quota.take(on_it, 3).unwrap();
        assert_eq!(part(quota.take(on_it, 1)), Part::Connection);
        let _second = quota.take(client(1), 2).unwrap();
        assert_eq!(part(quota.take(client(1), 1)), Part::Address);
        let _third = quota.take(client(2), 5).unwrap();
        assert_eq!(part(quota.take(Client::TRUSTED, 1)), Part::Node);
        drop(first);
        assert_eq!(quota.used(), 7);
        assert!(quota.take(Client::TRUSTED, 3).is_ok());
    }

    #[test]
    fn a_refused_resize_leaves_the_amount() {
        let quota = quota();
        let mut held = quota.take(client(1), 4).unwrap();
        assert_eq!(held.resize(6).unwrap_err().part, Part::Address);
        assert_eq!((held.amount(), quota.used()), (4, 4));
        held.resize(1).unwrap();
        assert_eq!(quota.used(), 1);
        drop(held);
        assert_eq!(quota.used(), 0);
        assert!(quota.given().addresses.is_empty());
    }

    #[test]
    fn refusals_and_use_are_exposed() {
        let registry = Registry::new();
        let terms = Terms::new("things", "things", 2, AddressShare::ALL);
        let quota = Quota::new(terms, &registry);
        let _held = quota.take(client(1), 2).unwrap();
        assert!(quota.take(client(2), 1).is_err());
        let text = registry.expose();
        for line in [
            r#"tailwater_limit_max{limit="things"} 2"#,
            r#"tailwater_limit_used{limit="things"} 2"#,
            r#"tailwater_limit_address_used{limit="things"} 2"#,
            r#"tailwater_limit_refusals_total{limit="things",part="node"} 1"#,
            r#"tailwater_limit_refusals_total{limit="things",part="address"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bound_is_ever_passed_and_everything_comes_back(
            steps in prop::collection::vec((0..4_u8, 0..4_u64, 0..8_u64, any::<bool>()), 1..60),
        ) {
            let quota = quota();
            let connections: Vec<_> = (0..4).map(|_| ConnectionId::new()).collect();
            let mut held: Vec<Held> = Vec::new();
            for (last, connection, amount, takes) in steps {
                let connection = Some(connections[connection as usize]);
                let client = Client { connection, ..client(last) };
                if takes {
                    held.extend(quota.take(client, amount));
                } else if let Some(one) = held.first_mut() {
                    let _full = one.resize(amount);
                    held.rotate_left(1);
                } else {
                    held.pop();
                }
                let sum = |wanted: &dyn Fn(&Client) -> bool| -> u64 {
                    held.iter().filter(|held| wanted(&held.client)).map(Held::amount).sum()
                };
                prop_assert_eq!(quota.used(), sum(&|_| true));
                prop_assert!(quota.used() <= 10);
                for last in 0..4 {
                    prop_assert!(sum(&|client| client.address == Some(address(last))) <= 5);
                }
                for id in &connections {
                    prop_assert!(sum(&|client| client.connection == Some(*id)) <= 3);
                }
            }
            drop(held);
            prop_assert_eq!(quota.used(), 0);
            prop_assert!(quota.given().addresses.is_empty() && quota.given().connections.is_empty());
        }
    }
}
