//! A client that sends long polls.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use event_log::Position;
use serde_json::Value;
use tokio::time::sleep;

use super::super::cluster::{Connection, Sent};
use super::super::cursor;
use super::super::dice::millis;
use super::super::judge::{Judge, Verdict};
use super::{Client, Close};

impl Client {
    /// Sends one request and pauses.
    pub(super) async fn poll(&mut self) -> Result<Close, String> {
        let cursor = &self.last_event_id;
        let wait = fastrand::u32(0..30);
        let uri = format!("/v1/events?{}&wait={wait}&last_event_id={cursor}", self.query);
        let request = Request::get(uri).header(header::ACCEPT, "application/json");
        let answer = match self.connect(request.body(Body::empty()).expect("a request")) {
            Some(connection) => receive(connection).await?,
            None => None,
        };
        match answer {
            Some((StatusCode::OK, body)) if !self.line_breaks() => {
                let json = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                self.note(&format!("gets {json}"));
                let stop = self.take(&json)?;
                if stop {
                    return Ok(Close::Stop);
                }
            }
            Some((
                StatusCode::OK | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
                _,
            )) => sleep(self.retry).await,
            Some((status, _)) => return Err(format!("the response was {status}")),
            None => sleep(self.retry).await,
        }
        sleep(millis(0..1000)).await;
        Ok(Close::Again)
    }

    /// Judges a response. Returns true if all topics have ended.
    fn take(&mut self, json: &Value) -> Result<bool, String> {
        let text = json["cursor"].as_str().ok_or("an answer without a cursor")?;
        let to = cursor::decode(text, self.parts.len())?;
        let events = json["events"].as_array().ok_or("an answer without events")?;
        let gaps = json["gaps"].as_array().ok_or("an answer without gaps")?;
        let ended = json["ended"] == true;
        let mut judge = self.judge();
        if !judge.has_cursor() {
            let mut begin = to.clone();
            for (topic, begin) in begin.iter_mut().enumerate() {
                let (events, gaps) =
                    (events_of(&judge, topic, events)?, gaps_of(&judge, topic, gaps)?);
                *begin = beginning(&judge, topic, &events, &gaps)?.unwrap_or(*begin);
            }
            judge.open(&begin)?;
        }
        for (topic, end) in to.iter().enumerate() {
            let (events, gaps) = (events_of(&judge, topic, events)?, gaps_of(&judge, topic, gaps)?);
            take_topic(&mut judge, topic, &events, &gaps, *end)?;
        }
        judge.drift(&to, None)?;
        if ended {
            judge.finish()?;
        }
        drop(judge);
        text.clone_into(&mut self.last_event_id);
        Ok(ended)
    }
}

/// The events of one log.
fn events_of(judge: &Judge, topic: usize, all: &[Value]) -> Result<Vec<Value>, String> {
    of(topic, all, |event| judge.part_of(event["topic"].as_str()))
}

/// The gaps of one log.
fn gaps_of(judge: &Judge, topic: usize, all: &[Value]) -> Result<Vec<Value>, String> {
    of(topic, all, |gap| judge.index(gap["topic"].as_str()))
}

fn of(
    topic: usize,
    all: &[Value],
    index: impl Fn(&Value) -> Result<usize, String>,
) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    for item in all {
        if index(item)? == topic {
            items.push(item.clone());
        }
    }
    Ok(items)
}

/// Returns the beginning of a first poll, which has no cursor: before the first event or gap of a log.
fn beginning(
    judge: &Judge,
    topic: usize,
    events: &[Value],
    gaps: &[Value],
) -> Result<Option<Position>, String> {
    let event = events.first().map(|event| position(&event["id"])).transpose()?;
    let gap = gaps.first().map(|gap| position(&gap["requested"])).transpose()?;
    Ok(match (event, gap) {
        (Some(event), Some(gap)) if !judge.precedes(topic, event, gap) => Some(gap),
        (Some(event), _) => Some(event.before()),
        (None, gap) => gap,
    })
}

/// Judges the events and gaps of a topic. A response has them in two lists; each gap belongs where the
/// sequence of events breaks.
fn take_topic(
    judge: &mut Judge,
    topic: usize,
    events: &[Value],
    gaps: &[Value],
    end: Position,
) -> Verdict {
    let ids: Vec<_> =
        events.iter().map(|event| position(&event["id"])).collect::<Result<_, _>>()?;
    let starts: Result<Vec<_>, _> = gaps.iter().map(|gap| position(&gap["requested"])).collect();
    let starts = starts?;
    let (mut event, mut gap) = (0, 0);
    loop {
        let rest = &ids[event..];
        if starts.get(gap).is_some_and(|start| judge.may_be_at(topic, *start)) {
            let next_gap = starts.get(gap + 1).filter(|start| {
                let next = rest
                    .first()
                    .filter(|next| judge.may_pass_by(topic) && next.n > least(&gaps[gap]));
                next.is_none_or(|next| !judge.precedes(topic, *next, **start))
            });
            let to = gap_end(rest, next_gap, end);
            judge.gap(topic, &gaps[gap], to)?;
            gap += 1;
        } else if let Some(told) = events.get(event) {
            let kind = told["type"].as_str().unwrap_or("message");
            let data = told["data"].as_str().unwrap_or_default();
            if data.split(' ').next() != told["topic"].as_str() {
                return Err(format!("an event of another topic: {told}"));
            }
            judge.deliver(topic, ids[event], kind, data)?;
            event += 1;
        } else {
            let rest = gaps.get(gap);
            return rest.map_or(Ok(()), |gap| Err(format!("a gap in the wrong place: {gap}")));
        }
    }
}

/// The number up to which the events of a selection are gone, as far as its gap says.
fn least(gap: &Value) -> u64 {
    let Some(most) = gap["missed_at_most"].as_u64() else { return 0 };
    position(&gap["requested"]).map_or(0, |requested| requested.n + most)
}

/// The end of a gap: the next event, or the next gap if that follows directly. A gap that begins at one of the next
/// events comes after that event. Its position tells nothing else: in a fail-over it may be later than events that
/// follow it.
fn gap_end(events: &[Position], next_gap: Option<&Position>, end: Position) -> Position {
    let chained = next_gap.filter(|start| !events.contains(start)).copied();
    chained.or(events.first().map(|next| next.before())).unwrap_or(end)
}

fn position(value: &Value) -> Result<Position, String> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| format!("{value} is not a position"))
}

/// Reads the whole response. Returns `None` if the connection broke.
async fn receive(mut connection: Connection) -> Result<Option<(StatusCode, Vec<u8>)>, String> {
    let Some(Sent::Head(status)) = connection.from.recv().await else { return Ok(None) };
    let mut body = Vec::new();
    loop {
        match connection.from.recv().await {
            Some(Sent::Bytes(bytes)) => body.extend_from_slice(&bytes),
            Some(Sent::End) => return Ok(Some((status, body))),
            Some(other) => return Err(format!("{other:?} in a body")),
            None => return Ok(None),
        }
    }
}

#[test]
fn a_gap_ends_at_the_next_gap_even_if_that_goes_back_before_the_next_event() {
    let at = |ms, n| Position::new(ms, n);
    let (events, end) = ([at(47, 12), at(66, 13), at(70, 14)], at(80, 15));
    assert_eq!(gap_end(&events, None, end), at(47, 11));
    assert_eq!(gap_end(&events, Some(&at(70, 14)), end), at(47, 11), "it comes after its event");
    assert_eq!(gap_end(&events, Some(&at(40, 10)), end), at(40, 10));
    assert_eq!(gap_end(&events, Some(&at(70, 13)), end), at(70, 13), "the log was rewound then");
    assert_eq!(gap_end(&[], None, end), end);
}
