//! A subscriber as a browser would be one, that gives up loudly instead of waiting for ever.

use std::net::SocketAddr;

use loadtest::client::control::{Control, Gap, Ready};
use loadtest::client::sse::{Event, EventSource, Stats};
use tokio::time::timeout;

use crate::support::PATIENCE;

/// An `EventSource` in a test.
#[derive(Debug)]
pub(crate) struct Reader {
    client: EventSource,
    /// What the gateways said, in order.
    pub(crate) controls: Vec<Control>,
}

impl Reader {
    /// Subscribes by a query, `topic=news`, and waits for the stream to be ready.
    pub(crate) async fn open(at: SocketAddr, query: &str) -> Reader {
        Reader::resume(at, query, "").await
    }

    /// Subscribes with a cursor.
    pub(crate) async fn resume(at: SocketAddr, query: &str, cursor: &str) -> Reader {
        let mut client = EventSource::new(at, format!("/v1/events?{query}"));
        client.set_last_event_id(cursor);
        let mut reader = Reader { client, controls: Vec::new() };
        let first = reader.step().await.expect("a stream");
        assert!(matches!(first, Step::Control(Control::Ready(_))), "{first:?}");
        reader
    }

    /// The newest `tailwater.ready`.
    pub(crate) fn ready(&self) -> &Ready {
        let mut newest_first = self.controls.iter().rev();
        let ready = newest_first.find_map(|control| match control {
            Control::Ready(ready) => Some(ready),
            _ => None,
        });
        ready.expect("every stream begins with one")
    }

    /// How many streams there were.
    pub(crate) fn streams(&self) -> usize {
        self.controls.iter().filter(|control| matches!(control, Control::Ready(_))).count()
    }

    /// All gaps so far.
    pub(crate) fn gaps(&self) -> Vec<&Gap> {
        let all = self.controls.iter().filter_map(|control| match control {
            Control::Gap(gap) => Some(gap),
            _ => None,
        });
        all.collect()
    }

    /// Why it was told to reconnect, each time.
    pub(crate) fn reconnects(&self) -> Vec<&str> {
        let all = self.controls.iter().filter_map(|control| match control {
            Control::Reconnect(told) => Some(told.reason.as_str()),
            _ => None,
        });
        all.collect()
    }

    /// The next event of a publisher, through any number of reconnects.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match self.step().await.expect("the stream goes on") {
                Step::Event(event) => return event,
                Step::Control(_) => {}
            }
        }
    }

    /// The data of the next events, without the padding of numbers.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            data.push(self.event().await.data.trim_end().to_owned());
        }
        data
    }

    /// Events up to the number `last`, which are to be `first` and on without a hole.
    pub(crate) async fn numbers(&mut self, first: u32, last: u32) {
        for expected in first..=last {
            let event = self.event().await;
            let found = event.data.split_whitespace().next().unwrap_or_default();
            assert_eq!(found, expected.to_string(), "event {} after {:?}", event.id, self.controls);
        }
    }

    /// The next control event.
    pub(crate) async fn control(&mut self) -> Control {
        match self.step().await.expect("the stream goes on") {
            Step::Control(control) => control,
            Step::Event(event) => panic!("not an event of a publisher: {event:?}"),
        }
    }

    /// The next gap.
    pub(crate) async fn gap(&mut self) -> Gap {
        match self.control().await {
            Control::Gap(gap) => gap,
            other => panic!("not {other:?}"),
        }
    }

    /// Waits for the end: the client has been told that there is no more.
    pub(crate) async fn ended(&mut self) {
        while let Some(step) = self.step().await {
            assert!(matches!(step, Step::Control(_)), "{step:?}");
        }
    }

    /// The id of the last event that came.
    pub(crate) fn last_event_id(&self) -> &str {
        self.client.last_event_id()
    }

    /// What the client went through.
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
