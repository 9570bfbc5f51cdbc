//! A source that does as it is told, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use event_log::{NewEvent, Topic};
use serde::Deserialize;

use crate::copying::Copying;
use crate::kind::Kind;
use crate::place::Place;
use crate::source::{Failure, Item, Reading, Source};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {}

impl crate::kind::Settings for Settings {
    fn fields(&self) -> &'static [&'static str] {
        &["key"]
    }

    fn kind(self: Box<Self>, _copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        Ok(Arc::new(Script::default()))
    }
}

/// The records and failures that all readers of the source see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Scripted>>);

#[derive(Debug, Default)]
struct Scripted {
    /// The records: topic and data. The place of a record is its index and one.
    records: Vec<(String, String)>,
    /// Failures that come before the next records, one for each call.
    failures: VecDeque<Failure>,
    /// The places at which the source was opened.
    opened: Vec<u64>,
    stored: u64,
    checkpoint: u64,
    /// Records before this one are gone.
    first: u64,
}

impl Script {
    pub(crate) fn add(&self, topic: &str, data: &str) {
        self.0.lock().unwrap().records.push((topic.to_owned(), data.to_owned()));
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.0.lock().unwrap().failures.push_back(failure);
    }

    pub(crate) fn opened(&self) -> Vec<u64> {
        self.0.lock().unwrap().opened.clone()
    }

    pub(crate) fn stored(&self) -> u64 {
        self.0.lock().unwrap().stored
    }

    pub(crate) fn checkpoint(&self) -> u64 {
        self.0.lock().unwrap().checkpoint
    }

    pub(crate) fn lose_before(&self, first: u64) {
        self.0.lock().unwrap().first = first;
    }
}

fn place(major: u64) -> Place {
    Place { era: 0, major, minor: 0, text: format!("cursor {major}") }
}

#[async_trait]
impl Kind for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Source for Script {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        let mut script = self.0.lock().unwrap();
        let next = after.map_or(0, |after| after.major);
        script.opened.push(next);
        Ok(Box::new(Read { script: self.clone(), next }))
    }
}

struct Read {
    script: Script,
    next: u64,
}

#[async_trait]
impl Reading for Read {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        loop {
            {
                let mut script = self.script.0.lock().unwrap();
                if let Some(failure) = script.failures.pop_front() {
                    return Err(failure);
                }
                if self.next < script.first {
                    let missed = Some(script.first - self.next);
                    self.next = script.first;
                    let reason = "it was trimmed".to_owned();
                    return Ok(vec![Item::Gap { missed, reason, place: place(self.next) }]);
                }
                let from = usize::try_from(self.next).unwrap();
                let records = script.records.iter().skip(from).take(3);
                let items: Vec<_> = records
                    .zip(self.next + 1..)
                    .map(|((topic, data), n)| match Topic::new(topic) {
                        Ok(topic) => {
                            let event =
                                NewEvent { data: data.as_str().into(), ..NewEvent::default() };
                            Item::Event { topic, event, place: place(n) }
                        }
                        Err(error) => Item::Bad {
                            excerpt: data.clone(),
                            reason: error.to_string(),
                            place: place(n),
                        },
                    })
                    .collect();
                if !items.is_empty() {
                    self.next += items.len() as u64;
                    return Ok(items);
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn stored(&mut self, up_to: &Place) -> Result<(), Failure> {
        self.script.0.lock().unwrap().stored = up_to.major;
        Ok(())
    }

    fn checkpointed(&mut self, place: &Place) {
        self.script.0.lock().unwrap().checkpoint = place.major;
    }
}
