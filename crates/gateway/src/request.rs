//! A request to subscribe, parsed from its head.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Event, EventType, Origin, Part, Spaces, Topic, TraceParent};

use crate::error::BadRequest;
use crate::head::SubscriptionHead;
use crate::hub::{Filter, HubRequest};
use crate::metrics::Resume;

mod begin;
mod brought;
mod hub;
mod manner;
mod presence;
mod selectors;

pub(crate) use begin::Begin;
use brought::Brought;
pub(crate) use manner::{Control, Heartbeat, Manner};
pub(crate) use presence::PresenceWish;
pub(crate) use selectors::Selectors;

/// A request to subscribe.
#[derive(Clone, PartialEq)]
pub(crate) struct Request {
    /// The parts of logs that it reads, at least one.
    pub(crate) parts: Vec<Part>,
    /// Where logs begin that the cursor does not know.
    pub(crate) begin: Begin,
    /// The cursor that the client brought: text from outside.
    pub(crate) cursor: Option<String>,
    /// The part of the request that brought the cursor, if there was one.
    pub(crate) resume: Resume,
    /// The events that it gets, and their shape.
    pub(crate) style: Style,
    /// An event stream or a long-poll.
    pub(crate) form: Form,
    /// The ticket in the query: a secret.
    pub(crate) ticket: Option<Box<str>>,
    /// The way in which a stream that a ticket opened is renewed.
    pub(crate) renew: Renew,
    /// Its part in the presence of the topics.
    pub(crate) presence: PresenceWish,
    /// The client's trace, if the client has one.
    pub(crate) trace: Option<TraceParent>,
    /// The request by the rules of Mercure, if it is one for a hub.
    pub(crate) hub: Option<Box<HubRequest>>,
}

/// The way in which a stream that a ticket opened is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Renew {
    /// Its control events carry a ticket for the next stream.
    #[default]
    Ticket,
    /// A redirect sets a cookie and takes the ticket out of the URL.
    Cookie {
        /// The query without the ticket.
        query: Box<str>,
        /// True if a page of another site asks.
        is_foreign: bool,
    },
}

/// The events that a subscriber gets, and their shape.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Style {
    /// Only events of these types; `None` is all.
    pub(crate) types: Option<Box<[EventType]>>,
    /// True if `data` is the JSON envelope.
    pub(crate) envelope: bool,
    /// The updates of a hub that it gets, in the form of Mercure.
    pub(crate) hub: Option<Arc<Filter>>,
}

/// The form in which events travel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// An event stream that stays open.
    Stream(Manner),
    /// One answer with the events that there are, or with the first that comes within the wait.
    LongPoll { wait: Duration, limit: usize },
}

/// Seconds that a long-poll may wait: less than the idle time-outs of common load balancers.
const WAIT_SECONDS: (u64, u64) = (0, 60);
/// Names in a filter, each of which is compared with the type of each event.
pub(crate) const TYPES_MAX: usize = 64;
/// Events in the answer to a long-poll.
const LIMIT_EVENTS: (u64, u64) = (1, 1000);
/// Events in the answer to a long-poll that gives no limit.
const LIMIT_DEFAULT: usize = 100;

impl Request {
    /// Parses a head, the same for every front end.
    pub(crate) fn parse(
        head: &SubscriptionHead<'_>,
        max_topics: usize,
        spaces: &Spaces,
    ) -> Result<Self, BadRequest> {
        let mut selectors = Selectors::default();
        let mut brought = Brought::new(head.last_event_id);
        let (mut begin, mut manner) = (Begin::default(), Manner::default());
        let (mut wait, mut limit) = (Duration::ZERO, LIMIT_DEFAULT);
        let (mut ticket, mut renew) = (None, Renew::default());
        let mut style = Style::default();
        let mut presence = PresenceWish::default();
        for (name, value) in form_urlencoded::parse(head.query.as_bytes()) {
            match &*name {
                "topic" => selectors.add(&value)?,
                "last_event_id" | "lastEventId" => brought.add(&value),
                "from" => begin = Begin::parse(&value)?,
                "types" => add_types(&mut style, &value)?,
                "envelope" if value == "json" => style.envelope = true,
                "envelope" => return Err(BadRequest::value("envelope", &value, "json")),
                "heartbeat" => manner.set_heartbeat(&value)?,
                "control" => manner.set_control(&value)?,
                "close" => manner.set_close(&value)?,
                "wait" => {
                    wait = Duration::from_secs(number("wait", &value, WAIT_SECONDS, "seconds")?)
                }
                "limit" => limit = number("limit", &value, LIMIT_EVENTS, "events")? as usize,
                "ticket" => ticket = (!value.is_empty()).then(|| value.into()),
                "renew" => {
                    renew = match &*value {
                        "ticket" => Renew::Ticket,
                        "cookie" => Renew::Cookie {
                            query: without_ticket(head.query),
                            is_foreign: head.sec_fetch_site == Some(b"cross-site"),
                        },
                        _ => return Err(BadRequest::value("renew", &value, "ticket or cookie")),
                    }
                }
                "presence" => presence.set_watches(&value)?,
                "client" => presence.set_client(&value)?,
                // Frameworks append these, and cache busters, to every URL.
                "datastar" | "org.htmx.cache-buster" => {}
                other if other.starts_with('_') => {}
                other => return Err(BadRequest::UnknownParameter(other.to_owned())),
            }
        }
        let parts = selectors.parts(max_topics, spaces)?;
        let (cursor, resume) = brought.cursor();
        let form = match wants_json(&head.accept) {
            true => Form::LongPoll { wait, limit },
            false => Form::Stream(manner.checked()?),
        };
        form.check(&presence)?;
        let trace = head.traceparent.and_then(trace_of);
        let hub = None;
        Ok(Self { parts, begin, cursor, resume, style, form, ticket, renew, presence, trace, hub })
    }

    /// The topics and patterns that it asks for, sorted in each log.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(Part::texts)
    }

    /// The topics that it names.
    pub(crate) fn topics(&self) -> impl Iterator<Item = Topic> {
        let own = self.parts.iter().filter_map(|part| part.log.topic());
        let selected = self.parts.iter().filter_map(|part| part.selection.as_ref());
        own.chain(selected.flat_map(|selection| selection.topics().iter().cloned()))
    }

    /// Where the subscription begins, for a request of this time, in milliseconds since 1970.
    pub(crate) fn origin(&self, now: u64) -> Origin {
        match &self.cursor {
            Some(cursor) => Origin::Resume(cursor.clone()),
            None => self.begin.origin(now),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("parts", &self.parts)
            .field("begin", &self.begin)
            .field("cursor", &self.cursor)
            .field("style", &self.style)
            .field("form", &self.form)
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

impl Form {
    /// Refuses news of presence where nothing could tell them.
    fn check(self, presence: &PresenceWish) -> Result<(), BadRequest> {
        let allowed = match self {
            Self::LongPoll { .. } => "0 for a long-poll: only a stream tells who joins and leaves",
            Self::Stream(manner) if manner.control == Control::Off => {
                "0 beside control=off, which leaves out control events"
            }
            Self::Stream(_) => return Ok(()),
        };
        match presence.watches {
            true => Err(BadRequest::value("presence", "1", allowed)),
            false => Ok(()),
        }
    }

    /// The word for a log or a trace.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stream(_) => "sse",
            Self::LongPoll { .. } => "long_poll",
        }
    }
}

impl Style {
    /// Returns the bytes that the filter takes.
    pub(crate) fn weight(&self) -> usize {
        let types = self.types.iter().flatten();
        let types = types.map(|name| size_of::<EventType>() + name.as_str().len()).sum::<usize>();
        types + self.hub.as_ref().map_or(0, |filter| filter.weight())
    }

    /// Returns true if an event is wanted.
    pub(crate) fn wants_event(&self, event: &Event) -> bool {
        match &self.hub {
            Some(filter) => filter.wants(event),
            None => self.wants(event.kind()),
        }
    }

    /// Returns true if an event of this type is wanted. A filter wants no event without a type, except by
    /// the name `message`, which is what such an event is called in a browser.
    pub(crate) fn wants(&self, kind: Option<&EventType>) -> bool {
        let name = kind.map_or("message", EventType::as_str);
        self.types.as_ref().is_none_or(|types| types.iter().any(|t| t.as_str() == name))
    }
}

/// A query without its ticket and the way of its renewal, however their names are written: a redirect to a URL
/// with both would never end.
fn without_ticket(query: &str) -> Box<str> {
    let is_kept = |pair: &&str| {
        !form_urlencoded::parse(pair.as_bytes())
            .any(|(name, _)| name == "ticket" || name == "renew")
    };
    query.split('&').filter(is_kept).collect::<Vec<_>>().join("&").into()
}

/// Returns true if the client takes JSON and no event stream.
fn wants_json(accept: &[&[u8]]) -> bool {
    let accepts = |wanted: &str| {
        accept.iter().filter_map(|value| visible(value)).flat_map(|value| value.split(',')).any(
            |part| {
                let media_type = part.split(';').next().unwrap_or_default();
                media_type.trim().eq_ignore_ascii_case(wanted)
            },
        )
    };
    accepts("application/json") && !accepts("text/event-stream")
}

/// The text of a header that consists of visible ASCII characters, spaces and tabs.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |b: &u8| b.is_ascii_graphic() || b" \t".contains(b);
    str::from_utf8(value).ok().filter(|_| value.iter().all(is_visible))
}

/// The trace of a `traceparent`. A malformed one counts as absent, as W3C Trace Context wants it.
fn trace_of(value: &[u8]) -> Option<TraceParent> {
    TraceParent::parse(visible(value)?)
}

/// Adds the types of one parameter to the filter.
fn add_types(style: &mut Style, value: &str) -> Result<(), BadRequest> {
    let before = style.types.take().unwrap_or_default().into_vec();
    let count = before.len() + value.split(',').count();
    if count > TYPES_MAX {
        return Err(BadRequest::TooManyTypes { count, max: TYPES_MAX });
    }
    let new = value.split(',').map(|name| Ok(EventType::new(name)?));
    let all: Result<Vec<_>, BadRequest> = before.into_iter().map(Ok).chain(new).collect();
    style.types = Some(all?.into());
    Ok(())
}

fn number(
    name: &'static str,
    value: &str,
    (min, max): (u64, u64),
    unit: &'static str,
) -> Result<u64, BadRequest> {
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(BadRequest::value(name, value, &format!("{min} to {max} {unit}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_log::Seek;
    use proptest::prelude::*;

    fn spaces() -> Spaces {
        Spaces::new(["orders/"]).unwrap()
    }

    fn parse(query: &str, headers: &[(&str, &str)]) -> Result<Request, BadRequest> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        Request::parse(&SubscriptionHead::collect(query, headers), 3, &spaces())
    }

    #[test]
    fn a_cursor_goes_before_from() {
        let origin = |query, headers| parse(query, headers).unwrap().origin(0);
        let resume = |text: &str| Origin::Resume(text.to_owned());
        let header = [("last-event-id", "5-1")];
        assert_eq!(origin("topic=t&last_event_id=6-2&from=earliest", &header), resume("5-1"));
        assert_eq!(origin("topic=t&lastEventId=7-3&from=earliest", &[]), resume("7-3"));
        let earliest = Origin::Seek(Seek::Earliest);
        assert_eq!(origin("topic=t&lastEventId=&from=earliest", &[]), earliest);
        assert_eq!(origin("topic=t", &[]), Origin::Latest);
    }

    #[test]
    fn a_pattern_selects_in_its_space() {
        let texts = |query: &str| {
            let request = parse(query, &[]).unwrap();
            let logs: Vec<_> = request.parts.iter().map(|part| part.log.to_string()).collect();
            (logs, request.texts().map(ToOwned::to_owned).collect::<Vec<_>>())
        };
        let some = texts("topic=orders/*/lines&topic=demo&topic=orders/1");
        assert_eq!(some.0, ["demo", "orders/**"]);
        assert_eq!(some.1, ["demo", "orders/1", "orders/*/lines"]);
        assert_eq!(texts("topic=orders/**&topic=orders/1").1, ["orders/**"]);
    }

    #[test]
    fn a_stream_has_a_manner() {
        let manner = |query: &str| match parse(&format!("topic=t&{query}"), &[]).unwrap().form {
            Form::Stream(manner) => manner,
            Form::LongPoll { .. } => panic!("it is a stream"),
        };
        assert_eq!(manner("control=on&close=end"), Manner::default());
        let silent = manner("heartbeat=off&control=off&close=abort");
        assert_eq!((silent.heartbeat, silent.control), (Heartbeat::Off, Control::Off));
        assert!(silent.aborts && silent.takes_statuses());
        let seen = manner("heartbeat=event&heartbeat=5");
        assert_eq!(seen.heartbeat, Heartbeat::Event);
        assert_eq!(seen.silence, Some(Duration::from_secs(5)));
        assert_eq!(manner("control=comment").control, Control::Comment);
    }

    #[test]
    fn parameters_of_frameworks_are_ignored() {
        let query = "topic=t&datastar=%7B%7D&org.htmx.cache-buster=1&_=2";
        assert!(parse(query, &[]).unwrap() == parse("topic=t", &[]).unwrap());
    }

    #[test]
    fn json_is_for_those_who_take_no_event_stream() {
        let form = |accept| parse("topic=t&wait=9", &[("accept", accept)]).unwrap().form;
        let poll = Form::LongPoll { wait: Duration::from_secs(9), limit: LIMIT_DEFAULT };
        let stream = Form::Stream(Manner::default());
        assert_eq!(form("application/json"), poll);
        assert_eq!(form("application/json;q=0.9, text/plain"), poll);
        for accept in
            ["text/event-stream", "*/*", "application/json, text/event-stream", "text/html"]
        {
            assert_eq!(form(accept), stream, "{accept}");
        }
        let both = [("accept", "application/json"), ("accept", "text/event-stream")];
        assert_eq!(parse("topic=t", &both).unwrap().form, stream, "every value counts");
    }

    #[test]
    fn a_filter_calls_an_event_without_a_type_message() {
        let style = parse("topic=t&types=a,message", &[]).unwrap().style;
        assert!(style.wants(None) && style.wants(Some(&EventType::new("a").unwrap())));
        assert!(!style.wants(Some(&EventType::new("b").unwrap())));
        let repeated = parse("topic=t&types=a&types=b,message", &[]).unwrap().style;
        assert!(repeated.wants(None) && repeated.wants(Some(&EventType::new("b").unwrap())));
        assert!(repeated.wants(Some(&EventType::new("a").unwrap())));
    }

    proptest! {
        #[test]
        fn no_request_panics(
            query in r"((topic|from|last_event_id|types|heartbeat|control|close|wait|limit|_)=[^&]{0,9}&?){0,6}",
            cursor: Vec<u8>,
            accept: Vec<u8>,
            trace: Vec<u8>,
        ) {
            let headers =
                [("last-event-id", &cursor), ("accept", &accept), ("traceparent", &trace)];
            let headers = headers.map(|(name, value)| (name, value.as_slice()));
            let _either = Request::parse(&SubscriptionHead::collect(&query, headers), 3, &spaces());
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_the_limit() {
        let message = |query: &str| parse(query, &[]).unwrap_err().to_string();
        let messages = [
            "",
            "topic=",
            "topic=a%20b",
            "topic=tailwater.x",
            "topic=a&topic=b&topic=c&topic=d",
            "topic=a&topic=b&topic=orders/1&topic=orders/*",
            "topic=users/*",
            "topic=orders/4*",
            "topic=orders/**/x",
            "topic=t&heartbeat=1",
            "topic=t&wait=61",
            "topic=t&limit=0",
            "topic=t&from=now",
            "topic=t&control=none",
            "topic=t&close=rst",
            "topic=t&control=off&heartbeat=event",
            "topic=t&types=a%20b",
            &format!("topic=t&types={}", ["x"; 65].join(",")),
            "topic=t&envelope=xml",
            "topic=t&topics=u",
        ]
        .map(|query| format!("{query}\n    {}\n", message(query)));
        insta::assert_snapshot!(messages.concat());
    }
}
