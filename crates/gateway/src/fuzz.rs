//! Properties of this crate's parsers and of its frames, as functions of any bytes, for the package
//! `fuzz`. A function panics if its property does not hold.

mod general;

use axum::body::HttpBody as _;
use axum::response::IntoResponse as _;
use event_log::{Event, EventType, NewEvent, Position, Spaces, Topic};

use crate::door::PATH;
use crate::frame::Shape;
use crate::head::SubscriptionHead;
use crate::http1::head::{FirstRequest, parse};
use crate::request::{Request, TYPES_MAX};

/// The most topics of a request here.
const TOPICS_MAX: usize = 8;

/// The largest body of a refusal, in bytes: a message whose bytes are all escaped, and its frame.
const REFUSAL_BYTES_MAX: u64 = 6 * 400 + 100;

/// Parses the first bytes of a connection. A subscription is one for the general server too, which
/// reads the same head; and the general server never has a request while this one waits for bytes.
pub fn head(bytes: &[u8]) {
    match parse(bytes) {
        FirstRequest::Subscription(head) => {
            let parts = general::parts(bytes).expect("the general server reads the head");
            assert_eq!((parts.method.as_str(), parts.uri.path()), ("GET", PATH));
            assert!(head == SubscriptionHead::of(&parts), "{head:?} is read as {parts:?}");
        }
        FirstRequest::Incomplete => {
            let parts = general::parts(bytes);
            assert!(parts.is_none(), "the general server does not wait: {parts:?}");
        }
        FirstRequest::Other => {}
    }
}

/// Parses the query of the first line with the headers of the other lines, `name:value`. An accepted
/// request is within its limits.
pub fn query(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
    });
    let request =
        Request::parse(&SubscriptionHead::collect(&query, headers), TOPICS_MAX, &spaces());
    if let Ok(request) = &request {
        let count = request.texts().count();
        assert!((1..=TOPICS_MAX).contains(&count), "{count} topics");
        let logs = request.parts.iter().map(|part| &part.log);
        assert!(logs.is_sorted_by(|one, next| one < next), "{:?}", request.parts);
        assert_ne!(request.cursor.as_deref(), Some(""), "an empty cursor is no cursor");
        let types = request.style.types.as_ref().map_or(0, |types| types.len());
        assert!(types <= TYPES_MAX, "{types} types");
    }
    if let Err(error) = request {
        let bytes = error.into_response().into_body().size_hint().exact();
        assert!(bytes.is_some_and(|bytes| bytes <= REFUSAL_BYTES_MAX), "{bytes:?} bytes");
    }
}

fn spaces() -> Spaces {
    Spaces::new(["s/"]).expect("a prefix")
}

/// Frames an event with the type of the first line and the data after it. A client reads back one
/// event with this type and this data, and JSON of the envelope's form.
pub fn frame(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (kind, data) = text.split_once('\n').unwrap_or(("", &text));
    let kind = EventType::new(kind).ok();
    let new = NewEvent { kind: kind.clone(), data: data.into(), ..NewEvent::default() };
    let topic = Topic::new("t").expect("a name of one letter");
    let event = Event::new(topic, Position::new(1, 2), new);
    let kind = kind.as_ref().map(EventType::as_str);

    let plain = read_back(Shape::Plain.frame(&event));
    assert_eq!(plain.data, data.replace("\r\n", "\n").replace('\r', "\n"));
    assert_eq!((plain.event_type(), &*plain.id), (kind.unwrap_or("message"), "1-2"));

    let envelope = read_back(Shape::Envelope.frame(&event));
    let json: serde_json::Value =
        serde_json::from_str(&envelope.data).expect("an envelope is JSON");
    assert_eq!((json["type"].as_str(), json["data"].as_str()), (kind, Some(data)));
}

/// The only event of a frame.
fn read_back(frame: &[u8]) -> sse::Event {
    let (mut parser, mut events) = (sse::Parser::default(), Vec::new());
    parser.feed(frame, &mut |event| events.push(event));
    assert_eq!(events.len(), 1, "a frame is one event");
    events.swap_remove(0)
}
