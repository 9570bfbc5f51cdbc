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
        let to = cursor::decode(text, self.topics.len())?;
        let events = json["events"].as_array().ok_or("an answer without events")?;
        let gaps = json["gaps"].as_array().ok_or("an answer without gaps")?;
        let ended = json["ended"] == true;
        let mut judge = self.judge();
        if !judge.has_cursor() {
            // A first poll has no cursor, so it starts before the first event or gap of each topic.
            let mut begin = to.clone();
            for gap in gaps.iter().rev() {
                begin[judge.index(gap["topic"].as_str())?] = position(&gap["requested"])?;
            }
            for event in events.iter().rev() {
                let gap = gaps.iter().find(|gap| gap["topic"] == event["topic"]);
                if gap.is_none_or(|gap| events.iter().any(|led| led["id"] == gap["requested"])) {
                    let topic = judge.index(event["topic"].as_str())?;
                    begin[topic] = position(&event["id"])?.before();
                }
            }
            judge.open(&begin)?;
        }
        for (topic, end) in to.iter().enumerate() {
            let name = self.topics[topic].as_str();
            let of = |list: &[Value]| -> Vec<Value> {
                list.iter().filter(|item| item["topic"] == name).cloned().collect()
            };
            take_topic(&mut judge, topic, &of(events), &of(gaps), *end)?;
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

/// Judges the events and gaps of a topic. A response has them in two lists; each gap belongs where the
/// sequence of events breaks.
fn take_topic(
    judge: &mut Judge,
    topic: usize,
    events: &[Value],
    gaps: &[Value],
    end: Position,
) -> Verdict {
    let mut gaps = gaps.iter().peekable();
    let mut events = events.iter().peekable();
    loop {
        let here = judge.position(topic).to_string();
        if let Some(gap) = gaps.next_if(|gap| gap["requested"] == here) {
            let next = events.peek().map(|event| position(&event["id"])).transpose()?;
            let starts = gaps.peek().map(|gap| position(&gap["requested"])).transpose()?;
            // A second gap may follow directly: it begins at the end of the first.
            let chained = starts.filter(|start| next.is_none_or(|next| *start < next));
            let to = chained.or(next.map(Position::before)).unwrap_or(end);
            judge.gap(topic, gap, to)?;
        } else if let Some(event) = events.next() {
            let kind = event["type"].as_str().unwrap_or("message");
            let data = event["data"].as_str().unwrap_or_default();
            judge.deliver(topic, position(&event["id"])?, kind, data)?;
        } else {
            return gaps
                .next()
                .map_or(Ok(()), |gap| Err(format!("a gap in the wrong place: {gap}")));
        }
    }
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
