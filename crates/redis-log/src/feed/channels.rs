//! The channels that a connection has joined, and the commands that make them the wanted ones.
//!
//! For each channel at most one command is on its way; its answer decides the next command. So an
//! answer is never taken for the answer to another command, however often a topic comes and goes.

use std::collections::{BTreeMap, HashMap};

use event_log::LogName;

use crate::keys::{self, Keys};

/// Channels that one command names. Redis serves no other client during it.
const COMMAND_MAX: usize = 512;

/// The subscriptions of a connection.
#[derive(Debug, Default)]
pub(super) struct Channels {
    states: HashMap<Box<str>, Channel>,
    /// Channels from the start of the connection that are not joined yet.
    initial: usize,
}

#[derive(Debug)]
struct Channel {
    topic: LogName,
    state: Membership,
    initial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Joining,
    Joined,
    Leaving,
}

/// Commands to send, grouped by slot: a command must not name channels of two slots.
#[derive(Debug, Default)]
pub(super) struct Orders {
    join: BTreeMap<u32, Vec<LogName>>,
    leave: BTreeMap<u32, Vec<LogName>>,
}

impl Channels {
    /// Joins a topic that is wanted when the connection begins.
    pub(super) fn start(&mut self, topic: &LogName, orders: &mut Orders) {
        self.join(topic, true, orders);
        self.initial = self.states.len();
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn topics(&self) -> Vec<LogName> {
        self.states.values().map(|channel| channel.topic.clone()).collect()
    }

    /// Returns true if all channels from the start are joined, or not wanted any more.
    pub(super) fn complete(&self) -> bool {
        self.initial == 0
    }

    pub(super) fn is_joined(&self, name: &str) -> bool {
        self.states.get(name).is_some_and(|channel| channel.state == Membership::Joined)
    }

    /// Joins or leaves a channel as it is wanted. Returns true if it is joined and wanted.
    pub(super) fn compare(&mut self, topic: &LogName, wanted: bool, orders: &mut Orders) -> bool {
        match (self.states.get_mut(topic.as_str()), wanted) {
            (None, true) => self.join(topic, false, orders),
            (Some(channel), false) if channel.state == Membership::Joined => channel.leave(orders),
            (Some(channel), true) => return channel.state == Membership::Joined,
            (Some(_) | None, false) => {}
        }
        false
    }

    /// Redis has confirmed a subscription.
    pub(super) fn joined(&mut self, name: &str, wanted: bool, orders: &mut Orders) {
        if let Some(channel) = self.states.get_mut(name)
            && channel.state == Membership::Joining
        {
            if std::mem::take(&mut channel.initial) {
                self.initial -= 1;
            }
            match wanted {
                true => channel.state = Membership::Joined,
                false => channel.leave(orders),
            }
        }
    }

    /// Redis has ended a subscription: on our command, or by itself, as it does when the slot of the
    /// channel moves. Returns true if by itself; then only [`compare`](Self::compare) joins the channel
    /// again.
    pub(super) fn left(&mut self, name: &str, wanted: bool, orders: &mut Orders) -> bool {
        let Some(channel) = self.states.get_mut(name) else { return false };
        match channel.state {
            // The answer to an earlier command.
            Membership::Joining => false,
            Membership::Leaving if wanted => {
                channel.state = Membership::Joining;
                orders.join(&channel.topic);
                false
            }
            state @ (Membership::Joined | Membership::Leaving) => {
                self.states.remove(name);
                state == Membership::Joined
            }
        }
    }

    /// Forgets channels that Redis has refused.
    pub(super) fn forget(&mut self, of: impl Fn(&LogName) -> bool) {
        self.states.retain(|_, channel| {
            let forget = of(&channel.topic);
            if forget && channel.initial {
                self.initial -= 1;
            }
            !forget
        });
    }

    fn join(&mut self, topic: &LogName, initial: bool, orders: &mut Orders) {
        orders.join(topic);
        let channel = Channel { topic: topic.clone(), state: Membership::Joining, initial };
        self.states.insert(topic.as_str().into(), channel);
    }
}

impl Channel {
    fn leave(&mut self, orders: &mut Orders) {
        self.state = Membership::Leaving;
        let partition = keys::partition(&self.topic);
        orders.leave.entry(partition).or_default().push(self.topic.clone());
    }
}

impl Orders {
    fn join(&mut self, topic: &LogName) {
        self.join.entry(keys::partition(topic)).or_default().push(topic.clone());
    }

    /// Takes the commands as bytes, or `None` if there are none.
    pub(super) fn take(&mut self, keys: &Keys) -> Option<Vec<u8>> {
        if self.join.is_empty() && self.leave.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        let orders = [("SUNSUBSCRIBE", &mut self.leave), ("SSUBSCRIBE", &mut self.join)];
        for (name, channels) in orders {
            for same_slot in std::mem::take(channels).values() {
                for some in same_slot.chunks(COMMAND_MAX) {
                    let mut command = redis::cmd(name);
                    some.iter().for_each(|topic| {
                        command.arg(keys.stream(topic));
                    });
                    command.write_packed_command(&mut bytes);
                }
            }
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> LogName {
        LogName::parse("a").unwrap()
    }

    fn sent(orders: &mut Orders) -> String {
        let bytes = orders.take(&Keys::default()).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().filter(|line| line.contains("SUBSCRIBE")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_topic_that_leaves_and_comes_back_is_joined_at_the_end() {
        let (mut channels, mut orders) = (Channels::default(), Orders::default());
        assert!(!channels.compare(&topic(), true, &mut orders));
        assert_eq!(sent(&mut orders), "SSUBSCRIBE");
        // Unwanted and wanted again before the answer: nothing is sent until it arrives.
        channels.compare(&topic(), false, &mut orders);
        assert!(!channels.compare(&topic(), true, &mut orders));
        assert_eq!(sent(&mut orders), "");
        channels.joined("a", true, &mut orders);
        assert!(channels.compare(&topic(), true, &mut orders));

        channels.compare(&topic(), false, &mut orders);
        assert_eq!(sent(&mut orders), "SUNSUBSCRIBE");
        // Wanted again while it leaves: the present subscription ends, so it does not count.
        assert!(!channels.compare(&topic(), true, &mut orders));
        assert_eq!(sent(&mut orders), "");
        assert!(!channels.left("a", true, &mut orders));
        assert_eq!(sent(&mut orders), "SSUBSCRIBE");
        channels.joined("a", true, &mut orders);
        assert!(channels.compare(&topic(), true, &mut orders));
    }

    #[test]
    fn a_topic_unwanted_while_it_joins_is_left() {
        let (mut channels, mut orders) = (Channels::default(), Orders::default());
        channels.compare(&topic(), true, &mut orders);
        sent(&mut orders);
        channels.joined("a", false, &mut orders);
        assert_eq!(sent(&mut orders), "SUNSUBSCRIBE");
        channels.left("a", false, &mut orders);
        assert_eq!(channels.len(), 0);
    }

    #[test]
    fn a_subscription_that_redis_ends_is_made_again_if_it_is_still_wanted() {
        let (mut channels, mut orders) = (Channels::default(), Orders::default());
        channels.start(&topic(), &mut orders);
        assert!(!channels.complete());
        sent(&mut orders);
        channels.joined("a", true, &mut orders);
        assert!(channels.complete() && channels.is_joined("a"));
        assert!(channels.left("a", true, &mut orders));
        assert!(!channels.is_joined("a"));
        assert_eq!(sent(&mut orders), "");
        assert!(!channels.compare(&topic(), true, &mut orders));
        assert_eq!(sent(&mut orders), "SSUBSCRIBE");
        // Two answers: the slot moved while the channel was being left.
        channels.joined("a", false, &mut orders);
        assert_eq!(sent(&mut orders), "SUNSUBSCRIBE");
        channels.left("a", true, &mut orders);
        assert!(!channels.left("a", true, &mut orders));
    }

    #[test]
    fn refused_subscriptions_are_forgotten() {
        let (mut channels, mut orders) = (Channels::default(), Orders::default());
        let other = LogName::parse("b").unwrap();
        channels.start(&topic(), &mut orders);
        channels.start(&other, &mut orders);
        sent(&mut orders);
        channels.forget(|topic| topic.as_str() == "a");
        assert!(!channels.complete());
        channels.joined("b", true, &mut orders);
        assert!(channels.complete());
        assert!(!channels.compare(&topic(), true, &mut orders));
        assert_eq!(sent(&mut orders), "SSUBSCRIBE");
    }

    #[test]
    fn a_command_names_channels_of_one_slot() {
        let mut orders = Orders::default();
        for i in 0..2000 {
            orders.join(&LogName::parse(&format!("t{i}")).unwrap());
        }
        let text = String::from_utf8(orders.take(&Keys::default()).unwrap()).unwrap();
        let mut tag = None;
        for line in text.lines() {
            if line == "SSUBSCRIBE" {
                tag = None;
            } else if line.starts_with("e:{") {
                let (this, _) = line.split_once('}').unwrap();
                assert_eq!(*tag.get_or_insert(this), this);
            }
        }
        assert!(orders.take(&Keys::default()).is_none());
    }
}
