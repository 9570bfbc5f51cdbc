//! Presence as clients meet it: the part of a stream in it, and the events that tell of it.
//!
//! A stream is a member of those of its topics that have presence. Two streams are one member if they have the same
//! subject and the same `client`; without a subject, if they have the same `client`. A stream with neither is a
//! member of its own, and another one each time that it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use access::{Grant, Right};
use event_log::Topic;
use presence::{Change, Member, MemberId, Membership, News, View, Watcher};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::rfc3339;
use crate::error::BadRequest;
use crate::gateway::Shared;
use crate::request::{Form, PresenceWish, Request};

/// The part of a stream in presence.
#[derive(Debug)]
pub(crate) struct Attendance {
    /// Held as long as the stream is open.
    _membership: Option<Membership>,
    watching: Option<Watching>,
}

#[derive(Debug)]
struct Watching {
    watcher: Watcher,
    /// The topics whose members the party may see.
    listed: Box<[Topic]>,
}

/// An event about presence.
#[derive(Debug)]
pub(crate) struct PresenceEvent {
    /// Its type.
    pub(crate) kind: &'static str,
    /// Its data.
    pub(crate) json: Arc<str>,
}

/// The description of a member, as nodes exchange it.
#[derive(Debug, Serialize, Deserialize)]
struct Info {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<Box<str>>,
    node: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
}

/// A member, as clients see it. The names are in the order of the alphabet.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Box<str>>,
    id: String,
    node: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
}

/// The members of a topic, or those who joined or left.
#[derive(Debug, Serialize)]
struct Told<'a> {
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Listed>>,
    /// True if there are more members than the list has.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
    topic: &'a str,
}

impl Shared {
    /// Returns true if a topic has presence.
    pub(crate) fn has_presence(&self, topic: &Topic) -> bool {
        self.presence.is_some() && self.config.presence.matches(topic.as_str(), None)
    }

    /// Refuses a request for news of presence that can get none.
    pub(crate) fn check_presence(&self, request: &Request) -> Result<(), BadRequest> {
        let asks = request.presence.watches;
        if asks && !request.topics().any(|topic| self.has_presence(&topic)) {
            return Err(BadRequest::NoPresence(request.texts().next().unwrap_or_default().into()));
        }
        Ok(())
    }
}

impl Attendance {
    /// Takes part in the presence of topics, as far as they have it. A long-poll without an identity does not: the
    /// next one would be another member.
    pub(crate) async fn take(
        gateway: &Shared,
        topics: &[Topic],
        (wish, form): (PresenceWish, Form),
        grant: &Grant,
    ) -> Option<Self> {
        let presence = gateway.presence.as_ref()?;
        let topics: Vec<_> =
            topics.iter().filter(|one| gateway.has_presence(one)).cloned().collect();
        if topics.is_empty() {
            return None;
        }
        let PresenceWish { watches, client } = wish;
        let subject = grant.principal().subject();
        let is_known = subject.is_some() || client.is_some();
        let watcher = if watches { Some(presence.watch(&topics).await) } else { None };
        let watching = watcher.map(|watcher| Watching {
            watcher,
            listed: topics
                .iter()
                .filter(|topic| grant.allows(Right::Presence, topic.as_str()))
                .cloned()
                .collect(),
        });
        let joins = is_known || matches!(form, Form::Stream(_));
        let membership = joins.then(|| {
            let id = identity(&gateway.config.node, subject, client.as_deref());
            let info = Info {
                client,
                node: gateway.config.node.as_str().into(),
                payload: grant.member().and_then(|text| raw(text)),
                subject: subject.map(Into::into),
            };
            presence.join(topics, id, &json(&info).into())
        });
        Some(Self { _membership: membership, watching })
    }

    /// Polls for the next events about presence.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Vec<PresenceEvent>> {
        let Some(Watching { watcher, listed }) = &mut self.watching else { return Poll::Pending };
        watcher.poll_next(cx).map(|news| match news {
            News::Present(topic, view) => {
                let json = present(&topic, &view, listed.contains(&topic));
                vec![PresenceEvent { kind: "tailwater.presence", json }]
            }
            News::Changed(topic, change) => changed(&topic, &change, listed.contains(&topic)),
        })
    }
}

/// The identity of a member.
fn identity(node: &str, subject: Option<&str>, client: Option<&str>) -> MemberId {
    match (subject, client) {
        (Some(subject), client) => MemberId::of(&["subject", subject, client.unwrap_or_default()]),
        (None, Some(client)) => MemberId::of(&["client", client]),
        (None, None) => {
            let number = fastrand::u128(..).to_string();
            MemberId::of(&["stream", node, &number])
        }
    }
}

/// The members of a topic as JSON, with their list for those who may see it.
pub(crate) fn present(topic: &Topic, view: &View, is_listed: bool) -> Arc<str> {
    let make = || {
        let more = is_listed.then_some((view.members.len() as u64) < view.count);
        let members = is_listed.then(|| listed(&view.members));
        let (count, topic) = (view.count, topic.as_str());
        json(&Told { count, joined: None, left: None, members, more, topic })
    };
    Arc::clone(view.encodings().text(usize::from(is_listed), make))
}

/// The events of a change: those who left first, because one who left and joined within it is there.
fn changed(topic: &Topic, change: &Change, is_listed: bool) -> Vec<PresenceEvent> {
    let named = |all: u64, members: &[Member]| {
        (is_listed && members.len() as u64 == all).then(|| listed(members))
    };
    let (count, topic, slot) = (change.count, topic.as_str(), usize::from(is_listed));
    let mut events = Vec::new();
    if change.left > 0 {
        let left = || {
            let members = named(change.left, &change.leaves);
            json(&Told { count, joined: None, left: Some(change.left), members, more: None, topic })
        };
        let json = Arc::clone(change.encodings().text(slot, left));
        events.push(PresenceEvent { kind: "tailwater.leave", json });
    }
    if change.joined > 0 {
        let joined = || {
            let members = named(change.joined, &change.joins);
            json(&Told {
                count,
                joined: Some(change.joined),
                left: None,
                members,
                more: None,
                topic,
            })
        };
        let json = Arc::clone(change.encodings().text(2 + slot, joined));
        events.push(PresenceEvent { kind: "tailwater.join", json });
    }
    events
}

fn listed(members: &[Member]) -> Vec<Listed> {
    // A description that another version wrote, and this one cannot read, is left out.
    let known = members.iter().filter_map(|member| {
        let Info { client, node, payload, subject } = serde_json::from_str(&member.info).ok()?;
        let (id, since) = (member.id.to_string(), rfc3339(member.since));
        Some(Listed { client, id, node, payload, since, subject })
    });
    known.collect()
}

/// The members of several topics as JSON.
pub(crate) fn counted(pattern: &str, counts: &presence::Counts) -> String {
    #[derive(Serialize)]
    struct Counted<'a> {
        count: u64,
        more: bool,
        pattern: &'a str,
        topics: BTreeMap<&'a str, u64>,
    }
    let topics = counts.topics.iter().map(|(topic, count)| (topic.as_str(), *count)).collect();
    let count = counts.topics.iter().map(|(_, count)| count).sum();
    json(&Counted { count, more: counts.more, pattern, topics })
}

fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}
