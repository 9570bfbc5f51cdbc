//! Compares acknowledged events with deliveries, and counts every difference.
//!
//! The rule it checks: an acknowledged event is delivered to every subscriber of its topic whose
//! cursor was before it, in order, exactly once, or the subscriber is told of a gap. Memory is
//! constant a client and eight bytes an event. Pure: no clock, no I/O.
//!
//! Two facts make this cheap. The log numbers the events of a topic without holes, so a hole in
//! the numbers that a client sees is a loss. And publishers number their payloads upwards in each
//! topic, so a payload that does not rise was stored twice.

mod subscriber;
mod topic;
mod verdict;

use subscriber::Subscriber;
use topic::CheckedTopic;
pub use verdict::Verdict;

use crate::client::control::Gap;
use crate::client::position::Position;

/// A topic of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicId(usize);

/// A client of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(usize);

impl ClientId {
    /// The client's number; the first one is 0.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The acknowledged events and the deliveries.
#[derive(Debug, Default)]
pub struct Checker {
    topics: Vec<CheckedTopic>,
    clients: Vec<(TopicId, Subscriber)>,
}

impl Checker {
    /// A checker that knows of nothing.
    pub fn new() -> Self {
        Checker::default()
    }

    /// Adds a topic.
    pub fn add_topic(&mut self) -> TopicId {
        self.topics.push(CheckedTopic::default());
        TopicId(self.topics.len() - 1)
    }

    /// Adds a client that subscribes to one topic.
    pub fn add_client(&mut self, topic: TopicId) -> ClientId {
        self.clients.push((topic, Subscriber::default()));
        ClientId(self.clients.len() - 1)
    }

    /// The log acknowledged the payload `seq` (from 1) at this position. A repeated receipt for
    /// the same payload changes nothing.
    pub fn acknowledged(&mut self, topic: TopicId, at: Position, seq: u32) {
        self.topics[topic.0].acknowledged(at, seq);
    }

    /// The client's stream opened with this cursor. Only the first one counts: later streams must
    /// continue at the position of the client, with any cursor.
    pub fn started(&mut self, client: ClientId, cursor: Position) {
        self.clients[client.0].1.started(cursor);
    }

    /// An event arrived. `seq` is `None` when its payload was unreadable.
    pub fn delivered(&mut self, client: ClientId, at: Position, seq: Option<u32>) {
        let (topic, subscriber) = &mut self.clients[client.0];
        let topic = &mut self.topics[topic.0];
        if !topic.is_plausible(at.n) {
            return subscriber.garbage();
        }
        subscriber.delivered(at, seq.filter(|&seq| topic.delivered(at.n, seq)));
    }

    /// The client was told of a gap.
    pub fn gap(&mut self, client: ClientId, gap: &Gap) {
        self.clients[client.0].1.gap(gap);
    }

    /// The last position that this client has seen.
    pub fn last(&self, client: ClientId) -> Option<Position> {
        self.clients[client.0].1.last()
    }

    /// The number of clients that have a start.
    pub fn started_clients(&self) -> usize {
        self.clients.iter().filter(|(_, client)| client.last().is_some()).count()
    }

    /// The number of clients that have not reached the last acknowledged event of their topic.
    pub fn unfinished(&self) -> usize {
        let is_behind = |(topic, client): &&(TopicId, Subscriber)| {
            client.behind(self.topics[topic.0].head()).is_none_or(|n| n > 0)
        };
        self.clients.iter().filter(is_behind).count()
    }

    /// The number of acknowledged events that the clients together have not reached yet.
    pub fn behind(&self) -> u64 {
        let behind = |(topic, client): &(TopicId, Subscriber)| {
            client.behind(self.topics[topic.0].head()).unwrap_or(0)
        };
        self.clients.iter().map(behind).sum()
    }

    /// The verdict so far. Clients that are still on their way count as unfinished.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for topic in &self.topics {
            topic.add_to(&mut verdict);
        }
        for (topic, client) in &self.clients {
            client.add_to(&mut verdict, self.topics[topic.0].head());
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
