//! A subscriber that behaves like a browser and panics when it waits for too long.

use std::net::SocketAddr;

use loadtest::client::control::{Control, Gap, Ready};
use loadtest::client::sse::{Event, EventSource, Stats};
use tokio::time::timeout;

use crate::support::PATIENCE;

/// An `EventSource` in a test.
#[derive(Debug)]
pub(crate) struct Reader {
    client: EventSource,
    /// All control events, in order.
    pub(crate) controls: Vec<Control>,
}

impl Reader {
    /// Subscribes with a query such as `topic=news`, and waits for `ready`.
    pub(crate) async fn open(at: SocketAddr, query: &str) -> Reader {
        Reader::resume(at, query, "").await
    }

    /// Subscribes after a cursor.
    pub(crate) async fn resume(at: SocketAddr, query: &str, cursor: &str) -> Reader {
        let mut client = EventSource::new(at, format!("/v1/events?{query}"));
        client.set_last_event_id(cursor);
        let mut reader = Reader { client, controls: Vec::new() };
        let first = reader.step().await.expect("a stream");
        assert!(matches!(first, Step::Control(Control::Ready(_))), "{first:?}");
        reader
    }

    /// Returns the newest `tailwater.ready`.
    pub(crate) fn ready(&self) -> &Ready {
        let mut newest_first = self.controls.iter().rev();
        let ready = newest_first.find_map(|control| match control {
            Control::Ready(ready) => Some(ready),
            _ => None,
        });
        ready.expect("every stream begins with one")
    }

    /// Returns the number of streams so far.
    pub(crate) fn streams(&self) -> usize {
        self.controls.iter().filter(|control| matches!(control, Control::Ready(_))).count()
    }

    /// Returns all gaps so far.
    pub(crate) fn gaps(&self) -> Vec<&Gap> {
        let all = self.controls.iter().filter_map(|control| match control {
            Control::Gap(gap) => Some(gap),
            _ => None,
        });
        all.collect()
    }

    /// Returns the reasons of all `reconnect` events so far.
    pub(crate) fn reconnects(&self) -> Vec<&str> {
        let all = self.controls.iter().filter_map(|control| match control {
            Control::Reconnect(told) => Some(told.reason.as_str()),
            _ => None,
        });
        all.collect()
    }

    /// Returns the next published event, after any number of reconnects.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match self.step().await.expect("the stream goes on") {
                Step::Event(event) => return event,
                Step::Control(_) => {}
            }
        }
    }

    /// Returns the data of the next `count` events, without the padding of numbers.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            data.push(self.event().await.data.trim_end().to_owned());
        }
        data
    }

    /// Reads the numbers from `first` to `last`, and asserts that none is missing or doubled.
    pub(crate) async fn numbers(&mut self, first: u32, last: u32) {
        for expected in first..=last {
            let event = self.event().await;
            let found = event.data.split_whitespace().next().unwrap_or_default();
            assert_eq!(found, expected.to_string(), "event {} after {:?}", event.id, self.controls);
        }
    }

    /// Returns the next control event.
    pub(crate) async fn control(&mut self) -> Control {
        match self.step().await.expect("the stream goes on") {
            Step::Control(control) => control,
            Step::Event(event) => panic!("not an event of a publisher: {event:?}"),
        }
    }

    /// Returns the next control event, which must be a gap.
    pub(crate) async fn gap(&mut self) -> Gap {
        match self.control().await {
            Control::Gap(gap) => gap,
            other => panic!("not {other:?}"),
        }
    }

    /// Waits until the gateway has told the client that all topics have ended.
    pub(crate) async fn ended(&mut self) {
        while let Some(step) = self.step().await {
            assert!(matches!(step, Step::Control(_)), "{step:?}");
        }
    }

    /// Returns the id of the last event.
    pub(crate) fn last_event_id(&self) -> &str {
        self.client.last_event_id()
    }

    /// Returns the client's counters.
    pub(crate) fn stats(&self) -> Stats {
        self.client.stats()
    }

    async fn step(&mut self) -> Option<Step> {
        let next = timeout(PATIENCE, self.client.next_event()).await;
        let Ok(event) = next else {
            let (stats, last) = (self.stats(), self.last_event_id());
            panic!("nothing came for {PATIENCE:?} after {last}: {stats:?}, {:?}", self.controls);
        };
        let event = event?;
        Some(match Control::read(&event).expect("control events are well formed") {
            None => Step::Event(event),
            Some(control) => {
                self.controls.push(control.clone());
                Step::Control(control)
            }
        })
    }
}

#[derive(Debug)]
enum Step {
    Event(Event),
    Control(Control),
}
