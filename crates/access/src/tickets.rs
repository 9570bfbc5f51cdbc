//! Tickets and stream cookies: copies of a grant that every node can check without asking another.
//!
//! A page cannot give an `EventSource` a header. It exchanges its token for a ticket, which stands in the URL
//! and is good for a minute, or for a cookie, which lasts as long as the token.

mod keys;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use crate::denied::{Carrier, Reason};
use crate::{Grant, HistoryExtent, Patterns, Principal, Quotas, Right, Rights, Timestamp};

pub use keys::{BadTicketKeys, TicketKeys};

/// Issues and checks tickets and stream cookies.
#[derive(Debug)]
pub struct Tickets {
    keys: RwLock<Arc<TicketKeys>>,
    everybody: Arc<Rights>,
}

/// The form of a copy of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the query of a URL.
    Ticket,
    /// In a cookie.
    Cookie,
}

/// A ticket or a stream cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The text for the query or the cookie.
    pub text: String,
    /// The time until which a stream can be opened with it.
    pub until: Timestamp,
}

/// A ticket that cannot be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTicket {
    /// The party brought no credentials.
    #[error("a ticket needs a token: send Authorization: Bearer TOKEN")]
    Anonymous,
    /// There are too many topics.
    #[error("{0} topics in one ticket; the limit is {max}", max = Patterns::MAX)]
    TooManyTopics(usize),
    /// The topics make the ticket too long for a URL.
    #[error("the ticket would have {0} bytes; the limit is {max}", max = TICKET_BYTES_MAX)]
    TooLong(usize),
}

/// The claims of a ticket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketClaims {
    sub: String,
    /// The end of the right, in seconds since 1970.
    exp: u64,
    /// The time until which a stream can be opened, in seconds since 1970.
    #[serde(rename = "use")]
    until: u64,
    /// The topics.
    top: Vec<String>,
    /// The id of the token behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tok: Option<String>,
    /// The time at which that was issued, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    /// The extent of history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    his: Option<String>,
    /// The bounds that the token set.
    #[serde(default, skip_serializing_if = "Quotas::is_none")]
    quo: Quotas,
    /// The topics whose members it may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pre: Vec<String>,
    /// The description of the party for other members, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mem: Option<String>,
}

/// The longest ticket, in bytes: proxies accept URLs of 8 KiB, and browsers drop a cookie whose name and value
/// have more than 4096 bytes. A name has 64 at most.
const TICKET_BYTES_MAX: usize = 4000;
/// The longest time for which the copy of a right without an end is good: a day, as a revocation holds. After it
/// the party has to bring its token, which may have been taken away.
const UNENDING: Duration = Duration::from_hours(24);
/// The least time until the end of a right for which a stream is opened.
const LEFT_MIN: Duration = Duration::from_secs(3);

impl Form {
    const fn kind(self) -> &'static str {
        match self {
            Self::Ticket => "tailwater-ticket+jwt",
            Self::Cookie => "tailwater-cookie+jwt",
        }
    }

    const fn carrier(self) -> Carrier {
        match self {
            Self::Ticket => Carrier::Ticket,
            Self::Cookie => Carrier::Cookie,
        }
    }
}

impl Tickets {
    /// Tickets signed with the first of these keys. Every grant adds to the rights of everybody.
    #[must_use]
    pub fn new(keys: TicketKeys, everybody: Arc<Rights>) -> Self {
        Self { keys: RwLock::new(Arc::new(keys)), everybody }
    }

    /// Replaces the keys.
    pub fn replace(&self, keys: TicketKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Issues a ticket or a stream cookie for a party and topics that its grant has been checked for. A
    /// stream can be opened with it for `life`, but not beyond the grant's deadline; for a day at most if the
    /// grant has none.
    ///
    /// # Errors
    /// The party is anonymous, or the topics are too many or too long.
    pub fn issue(
        &self,
        grant: &Grant,
        topics: &[&str],
        form: Form,
        life: Option<Duration>,
    ) -> Result<Ticket, NoTicket> {
        let subject = grant.principal().subject().ok_or(NoTicket::Anonymous)?;
        if topics.len() > Patterns::MAX {
            return Err(NoTicket::TooManyTopics(topics.len()));
        }
        let end = grant.principal().deadline();
        let end = end.unwrap_or_else(|| Timestamp::now().later(UNENDING));
        let until = life.map_or(end, |life| Timestamp::now().later(life).min(end));
        let claims = TicketClaims {
            sub: subject.to_owned(),
            exp: end.as_seconds(),
            until: until.as_seconds(),
            top: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            tok: grant.token.as_deref().map(ToOwned::to_owned),
            iat: grant.issued.map(Timestamp::as_seconds),
            his: match grant.history {
                HistoryExtent::All => None,
                other => Some(other.to_string()),
            },
            quo: grant.quotas,
            pre: topics
                .iter()
                .filter(|topic| grant.rights.of(Right::Presence).matches(topic, Some(subject)))
                .map(|topic| (*topic).to_owned())
                .collect(),
            mem: grant.member.as_deref().map(ToOwned::to_owned),
        };
        let header = Header { typ: Some(form.kind().to_owned()), ..Header::new(Algorithm::HS256) };
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let text = encode(&header, &claims, keys.signing());
        let text = text.expect("an HMAC signs every text, and the claims are plain");
        match text.len() {
            bytes if bytes > TICKET_BYTES_MAX => Err(NoTicket::TooLong(bytes)),
            _ => Ok(Ticket { text, until: Timestamp::from_seconds(until.as_seconds()) }),
        }
    }

    /// Returns true if a text has the form of a ticket or a stream cookie.
    pub(crate) fn made(text: &str) -> bool {
        text.len() <= TICKET_BYTES_MAX
            && kind(text).is_some_and(|kind| kind.starts_with("tailwater-"))
    }

    /// Checks a ticket or a stream cookie.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn verify(&self, text: &str, form: Form) -> Result<Grant, Reason> {
        if text.len() > TICKET_BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        if text.split('.').count() != 3 {
            return Err(Reason::NotJwt);
        }
        match kind(text) {
            Some(kind) if kind == form.kind() => {}
            Some(_) => return Err(Reason::Type),
            None => return Err(Reason::NotJwt),
        }
        let claims = self.claims(text)?;
        let now = Timestamp::now();
        let deadline = Timestamp::from_seconds(claims.exp);
        let until = Timestamp::from_seconds(claims.until);
        if deadline.after(now) < LEFT_MIN || until.after(now).is_zero() {
            return Err(Reason::Expired);
        }
        let history = claims.his.as_deref().map_or(Ok(HistoryExtent::All), str::parse);
        let topics = Patterns::new(claims.top.iter().map(String::as_str));
        let presence = Patterns::new(claims.pre.iter().map(String::as_str));
        Ok(Grant {
            principal: Principal::new(&claims.sub, claims.tok.as_deref(), Some(deadline)),
            rights: Rights {
                subscribe: topics.map_err(|_| Reason::MalformedClaim)?,
                presence: presence.map_err(|_| Reason::MalformedClaim)?,
                ..Rights::default()
            },
            everybody: Arc::clone(&self.everybody),
            history: history.map_err(|_| Reason::MalformedClaim)?,
            quotas: claims.quo,
            member: claims.mem.map(Into::into),
            issued: claims.iat.map(Timestamp::from_seconds),
            is_admin: false,
            key: None,
            token: claims.tok.map(Into::into),
            carrier: form.carrier(),
            lack: Reason::Topic,
        })
    }

    fn claims(&self, text: &str) -> Result<TicketClaims, Reason> {
        let mut signature = Validation::new(Algorithm::HS256);
        signature.validate_exp = false;
        signature.validate_aud = false;
        signature.required_spec_claims.clear();
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let verified = keys.verifying().find_map(|key| decode(text, key, &signature).ok());
        verified.map(|data| data.claims).ok_or(Reason::Signature)
    }
}

/// The `typ` of a token's header.
fn kind(text: &str) -> Option<String> {
    decode_header(text).ok()?.typ
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(deadline: Option<Timestamp>) -> Grant {
        Grant {
            principal: Principal::new("ann", Some("t1"), deadline),
            issued: Some(Timestamp::from_seconds(1000)),
            history: HistoryExtent::Within(Duration::from_mins(30)),
            token: Some("t1".into()),
            quotas: Quotas { topics: Some(3), replay_bytes: Some(1 << 20), ..Quotas::default() },
            ..Grant::everything()
        }
    }

    fn tickets() -> Tickets {
        Tickets::new(TicketKeys::random(), Arc::default())
    }

    const MINUTE: Option<Duration> = Some(Duration::from_mins(1));

    #[test]
    fn a_ticket_grants_its_topics_to_its_subject_and_nothing_else() {
        let (tickets, deadline) = (tickets(), Timestamp::now().later(Duration::from_hours(1)));
        let ticket = tickets.issue(&grant(Some(deadline)), &["a/b"], Form::Ticket, MINUTE).unwrap();
        assert!(Tickets::made(&ticket.text));
        let copy = tickets.verify(&ticket.text, Form::Ticket).unwrap();
        assert_eq!(copy.principal().subject(), Some("ann"));
        assert_eq!(
            copy.principal().deadline().map(Timestamp::as_seconds),
            Some(deadline.as_seconds())
        );
        assert_eq!(copy.history(), HistoryExtent::Within(Duration::from_mins(30)));
        assert_eq!(copy.issued, Some(Timestamp::from_seconds(1000)));
        assert_eq!(copy.quotas(), grant(None).quotas());
        assert!(copy.allows(crate::Right::Subscribe, "a/b"));
        for topic in ["a", "a/b/c", "a/c"] {
            assert!(!copy.allows(crate::Right::Subscribe, topic));
        }
        assert!(!copy.allows(crate::Right::Publish, "a/b") && !copy.is_admin());
        assert_eq!(tickets.verify(&ticket.text, Form::Cookie).unwrap_err(), Reason::Type);
    }

    #[test]
    fn a_ticket_is_over_after_its_time_and_never_outlives_its_token() {
        let tickets = tickets();
        let now = Timestamp::now();
        let spent =
            tickets.issue(&grant(None), &["a"], Form::Ticket, Some(Duration::ZERO)).unwrap();
        assert_eq!(tickets.verify(&spent.text, Form::Ticket).unwrap_err(), Reason::Expired);
        let short = now.later(Duration::from_secs(20));
        let ticket = tickets.issue(&grant(Some(short)), &["a"], Form::Ticket, MINUTE).unwrap();
        assert_eq!(ticket.until.as_seconds(), short.as_seconds());
        let over = grant(Some(now.later(Duration::from_secs(1))));
        let cookie = tickets.issue(&over, &["a"], Form::Cookie, None).unwrap();
        assert_eq!(tickets.verify(&cookie.text, Form::Cookie).unwrap_err(), Reason::Expired);
    }

    #[test]
    fn a_copy_of_a_right_without_an_end_lasts_for_a_day_and_so_do_its_copies() {
        let (tickets, day) = (tickets(), Timestamp::now().later(UNENDING));
        let cookie = tickets.issue(&grant(None), &["a"], Form::Cookie, None).unwrap();
        assert!(cookie.until <= day.later(Duration::from_mins(1)), "{}", cookie.until);
        let copy = tickets.verify(&cookie.text, Form::Cookie).unwrap();
        let of_copy = tickets.issue(&copy, &["a"], Form::Ticket, Some(UNENDING * 2)).unwrap();
        assert_eq!(of_copy.until, cookie.until);
    }

    #[test]
    fn tickets_of_an_older_key_are_good_until_it_is_taken_away() {
        let (old, new) = (TicketKeys::random(), TicketKeys::random());
        let tickets = Tickets::new(old.clone(), Arc::default());
        let ticket = tickets.issue(&grant(None), &["a"], Form::Ticket, MINUTE).unwrap();
        tickets.replace(new.clone().and(old));
        assert!(tickets.verify(&ticket.text, Form::Ticket).is_ok());
        tickets.replace(new);
        assert_eq!(tickets.verify(&ticket.text, Form::Ticket).unwrap_err(), Reason::Signature);
    }

    #[test]
    fn nobody_without_a_name_gets_a_ticket_and_no_ticket_has_too_many_topics() {
        let tickets = tickets();
        let anonymous = tickets.issue(&Grant::everything(), &["a"], Form::Ticket, MINUTE);
        assert_eq!(anonymous, Err(NoTicket::Anonymous));
        let many = vec!["a"; 65];
        let refused = tickets.issue(&grant(None), &many, Form::Ticket, MINUTE);
        assert_eq!(refused, Err(NoTicket::TooManyTopics(65)));
        let long = "x".repeat(200);
        let refused = tickets.issue(&grant(None), &vec![&*long; 64], Form::Ticket, MINUTE);
        assert!(matches!(refused, Err(NoTicket::TooLong(_))), "{refused:?}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_ticket(text in "[A-Za-z0-9_.-]{0,200}") {
            let refused = tickets().verify(&text, Form::Ticket).is_err();
            proptest::prop_assert!(refused);
            let _either = Tickets::made(&text);
        }
    }
}
