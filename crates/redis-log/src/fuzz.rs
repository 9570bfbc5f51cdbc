//! Properties of this crate's parsers, as functions of any bytes, for the package `fuzz`. A function
//! panics if its property does not hold.
//!
//! The library parses RESP; these functions give its values to every part of this crate that reads
//! them.

use event_log::{LogName, Position};
use redis::{RedisError, Value, ValueCodec};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use crate::address::Address;
use crate::echo::Echoes;
use crate::entry::{self, Live};
use crate::error::Failure;
use crate::feed::socket::Frame;
use crate::head::LogHead;
use crate::publish;
use crate::store::{landmarks, view};
use crate::topology::cluster::View;
use crate::topology::sentinel::Report;
use crate::url::RedisUrl;

/// Appends of a run of the script here.
const RUN: usize = 3;

/// Decodes an entry, and the message that carries it. The event reads back as it is written.
pub fn entry(bytes: &[u8]) {
    let (named, event) = entry::decode(bytes);
    let text = entry::header(named.as_ref(), &event) + &event.data;
    assert_eq!(entry::decode(text.as_bytes()), (named, event));
    let Some(live) = Live::decode(&topic(), bytes) else { return };
    let text = match &live {
        Live::Event(event) => format!("{}\n\n{}", event.position(), event.data()),
        Live::Notice(position) => position.to_string(),
        Live::Erased(position) => Live::erased(*position),
    };
    let again = Live::decode(&topic(), text.as_bytes());
    assert_eq!(again.map(|again| again.position()), Some(live.position()));
}

/// Parses a head, which reads back as the script writes it, and compares it with the position of the
/// second line.
pub fn head(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (text, witness) = text.split_once('\n').unwrap_or((text, ""));
    let Some(head) = LogHead::parse(text) else { return };
    let LogHead { generation, ended, accounted } = head;
    let state = if ended { 'e' } else { 'o' };
    let text = format!("{} 5 {} run {state} {accounted}", generation.head, generation.first);
    assert_eq!(LogHead::parse(&text), Some(head));
    let witness: Position = witness.parse().unwrap_or(head.position());
    assert!(!head.may_lack(witness) || !ended, "an ended log lacks nothing");
}

/// Reads the bytes of a subscriber connection. Any pieces give the same frames as the whole, unless the
/// bytes are not RESP: the library may find that out earlier or later.
///
/// The first byte is the length of a piece.
pub fn feed(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let (whole, is_resp) = frames([bytes]);
    let (pieces, _) = frames(bytes.chunks(usize::from(first) + 1));
    let common = if is_resp { whole.len() } else { whole.len().min(pieces.len()) };
    assert_eq!(pieces.get(..common), whole.get(..common));
}

/// The frames before the first bytes that are not RESP, and false if there are such bytes.
fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, bool) {
    let (mut codec, mut held, mut frames) = (ValueCodec::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match codec.decode(&mut held) {
                Ok(Some(value)) => frames.push(frame(value)),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

fn frame(value: Value) -> String {
    match Frame::of(value) {
        Ok(Frame::Message { channel, payload }) => {
            let live = Live::decode(&topic(), &payload);
            let is_marker = Echoes::default().take(&payload);
            assert!(live.is_none() || !is_marker, "an event is taken for a marker");
            format!("{channel} {:?} {is_marker}", live.map(|live| live.position()))
        }
        other => format!("{other:?}"),
    }
}

/// Reads the answers to reading commands: a head, landmarks, and a range of entries.
pub fn read(bytes: &[u8]) {
    for value in values(bytes) {
        let as_head = view::head(value.clone());
        // The script writes no head that lies before the first position of its generation.
        if let Ok(Some(head)) = as_head
            && head.generation.first <= head.position()
        {
            assert!(!head.may_lack(head.position()), "a head does not lack itself");
        }
        let entries = match &value {
            Value::Array(entries) => entries.len(),
            _ => 0,
        };
        if let Ok(Some(landmarks)) = landmarks::parse(value.clone()) {
            let again = Value::Array(vec![
                text(&landmarks.oldest),
                text(&landmarks.newest),
                text(&if landmarks.ended { 'e' } else { 'o' }),
                landmarks.begin.map_or_else(|| text(&""), |begin| text(&begin)),
            ]);
            let again = landmarks::parse(again).expect("landmarks read back");
            assert_eq!(format!("{again:?}"), format!("{:?}", Some(landmarks)));
        }
        if let Ok(events) = view::events(&topic(), value) {
            assert_eq!(events.len(), entries);
            let newest = LogHead::of(None, events.first());
            assert_eq!(newest.is_some(), !events.is_empty());
        }
    }
}

/// Reads the answers to runs of the script. Each append has an answer, and each failure a meaning.
pub fn script(bytes: &[u8]) {
    for value in values(bytes) {
        let answers = publish::answers(value.extract_error(), RUN);
        assert_eq!(answers.len(), RUN, "an answer for each append");
        for failure in answers.into_iter().filter_map(Result::err) {
            has_a_meaning(&failure);
        }
    }
}

/// Reads what the nodes of a cluster and sentinels say of the primaries.
pub fn topology(bytes: &[u8]) {
    let asked = Address::new("asked", 1);
    let values = values(bytes);
    if let [info, slots, ..] = &values[..]
        && let (Ok(info), Ok(slots)) = (
            redis::from_redis_value::<String>(info.clone()),
            redis::from_redis_value::<Vec<Value>>(slots.clone()),
        )
    {
        let map = View::parse(&asked, &info, slots).map();
        assert!(map.primaries().iter().all(|primary| !primary.host().is_empty()));
    }
    let replies: Vec<Result<Value, RedisError>> =
        values.into_iter().map(Value::extract_error).collect();
    for error in replies.iter().filter_map(|reply| reply.as_ref().err()) {
        has_a_meaning(&Failure::Redis(error.clone()));
    }
    if let Ok(Some(report)) = Report::parse(&asked, replies) {
        assert!(!report.primary.host().is_empty());
    }
}

/// Parses a URL and an address. Neither a shown URL nor an error has the password.
pub fn url(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // With TLS the parser reads files.
    if text.starts_with("rediss") {
        return;
    }
    let secret = "s3cr3t-of-the-test";
    let text = text.replace("PASSWORD", secret);
    let place = |shown: &str| shown.contains(secret);
    match text.parse::<RedisUrl>() {
        Ok(url) => {
            let login = url
                .credentials
                .login
                .password
                .as_deref()
                .is_some_and(|password| password == secret);
            let elsewhere = text.matches(secret).count() != 1;
            assert!(!login || elsewhere || !place(&format!("{url} {url:?}")), "{url}");
        }
        Err(error) => {
            let parameter = text.split_once('?').is_some_and(|(_, query)| place(query));
            assert!(parameter || !place(&error.to_string()), "{error}");
        }
    }
    if let Some(address) = Address::parse(&text, 6379) {
        assert_eq!(Address::parse(&address.to_string(), 1), Some(address));
    }
}

fn text(text: &impl ToString) -> Value {
    Value::BulkString(text.to_string().into_bytes())
}

/// All whole values at the start of the bytes.
fn values(bytes: &[u8]) -> Vec<Value> {
    let (mut codec, mut held) = (ValueCodec::default(), BytesMut::from(bytes));
    std::iter::from_fn(|| codec.decode(&mut held).ok().flatten()).collect()
}

fn has_a_meaning(failure: &Failure) {
    let _meaning = failure.meaning(&Address::new("asked", 1));
}

fn topic() -> LogName {
    LogName::parse("t").expect("a name of one letter")
}
