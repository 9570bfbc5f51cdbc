//! The rights of a party.

use std::sync::Arc;

use crate::denied::{Carrier, Denied, Reason};
use crate::{HistoryExtent, Patterns, Principal, Quotas, Timestamp};

/// A thing that a party may do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To read its events.
    Subscribe,
    /// To publish events.
    Publish,
    /// To end it.
    End,
    /// To see the members that subscribe to it. Their number is told to all who may subscribe.
    Presence,
}

/// The topics that a party may use, by right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// To read.
    pub subscribe: Patterns,
    /// To publish to.
    pub publish: Patterns,
    /// To end.
    pub end: Patterns,
    /// To see the members.
    pub presence: Patterns,
}

/// The rights of one party, which add to the rights of everybody.
#[derive(Debug, Clone)]
pub struct Grant {
    pub(crate) principal: Principal,
    pub(crate) rights: Rights,
    /// The rights of those who bring nothing.
    pub(crate) everybody: Arc<Rights>,
    pub(crate) history: HistoryExtent,
    pub(crate) quotas: Quotas,
    /// The description of the party that other members of a topic see: a JSON object in one line.
    pub(crate) member: Option<Arc<str>>,
    /// The time at which its token was issued.
    pub(crate) issued: Option<Timestamp>,
    /// True if the party may revoke the rights of others.
    pub(crate) is_admin: bool,
    /// The id of the key that signed the token, for the audit.
    pub(crate) key: Option<Box<str>>,
    /// The id of the token.
    pub(crate) token: Option<Box<str>>,
    /// The part of the request that brought it.
    pub(crate) carrier: Carrier,
    /// The reason why it does not grant more.
    pub(crate) lack: Reason,
}

impl Right {
    /// The word for a log or an error.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::End => "end",
            Self::Presence => "presence",
        }
    }
}

impl Rights {
    /// The right to do everything with every topic.
    #[must_use]
    pub fn all() -> Self {
        let every = Patterns::every();
        Self {
            subscribe: every.clone(),
            publish: every.clone(),
            end: every.clone(),
            presence: every,
        }
    }

    /// The topics of a right.
    #[must_use]
    pub const fn of(&self, right: Right) -> &Patterns {
        match right {
            Right::Subscribe => &self.subscribe,
            Right::Publish => &self.publish,
            Right::End => &self.end,
            Right::Presence => &self.presence,
        }
    }
}

impl Grant {
    /// A grant of everything to everybody, without an end.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            principal: Principal::ANONYMOUS,
            rights: Rights::default(),
            everybody: Arc::new(Rights::all()),
            history: HistoryExtent::All,
            quotas: Quotas::default(),
            member: None,
            issued: None,
            is_admin: true,
            key: None,
            token: None,
            carrier: Carrier::Nothing,
            lack: Reason::Topic,
        }
    }

    /// The grant with other rights, which another protocol has given to its party.
    #[must_use]
    pub fn with_rights(&self, rights: Rights) -> Self {
        Self { rights, ..self.clone() }
    }

    /// The party.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The patterns of a right, those of everybody included, as texts.
    #[must_use]
    pub fn patterns(&self, right: Right) -> Vec<String> {
        let own = self.rights.of(right).iter().chain(self.everybody.of(right).iter());
        own.map(ToString::to_string).collect()
    }

    /// The part of the request that brought the credentials.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The part of a topic's history that the party may read.
    #[must_use]
    pub const fn history(&self) -> HistoryExtent {
        self.history
    }

    /// The time before which the party may read no event; `None` if it may read all.
    #[must_use]
    pub fn history_floor(&self, now: Timestamp) -> Option<Timestamp> {
        match self.history {
            HistoryExtent::All => None,
            HistoryExtent::None => Some(self.issued.unwrap_or(now).min(now)),
            HistoryExtent::Within(time) => Some(now.earlier(time)),
        }
    }

    /// The bounds that its credentials set.
    #[must_use]
    pub const fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// The description of the party that other members of a topic see: a JSON object in one line.
    #[must_use]
    pub const fn member(&self) -> Option<&Arc<str>> {
        self.member.as_ref()
    }

    /// Returns true if the party may revoke the rights of others.
    #[must_use]
    pub const fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Checks that the party may revoke the rights of others.
    ///
    /// # Errors
    /// It may not: for lack of credentials, or because its credentials do not grant it.
    pub fn check_admin(&self) -> Result<(), Denied> {
        let lack = Denied { reason: self.lack, carrier: self.carrier };
        self.is_admin.then_some(()).ok_or(lack)
    }

    /// The id of the key that signed the token, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Checks that the party may do this with some topic.
    ///
    /// # Errors
    /// It may not with any.
    pub fn check_some(&self, right: Right) -> Result<(), Denied> {
        let has = !self.rights.of(right).is_empty() || !self.everybody.of(right).is_empty();
        has.then_some(()).ok_or(Denied { reason: self.lack, carrier: self.carrier })
    }

    /// Checks that the party may do this with a topic.
    ///
    /// # Errors
    /// It may not: for lack of credentials, or because its credentials do not grant it.
    pub fn check(&self, right: Right, topic: &str) -> Result<(), Denied> {
        let lack = Denied { reason: self.lack, carrier: self.carrier };
        self.allows(right, topic).then_some(()).ok_or(lack)
    }

    /// Returns true if the party may do this with a topic.
    #[must_use]
    pub fn allows(&self, right: Right, topic: &str) -> bool {
        self.everybody.of(right).matches(topic, None)
            || self.rights.of(right).matches(topic, self.principal.subject())
    }
}
