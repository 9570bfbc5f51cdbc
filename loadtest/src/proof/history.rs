//! Acknowledgements and deliveries, judged after the run: for logs that lose events.
//!
//! The [`checker`](crate::proof::checker) trusts the numbers of the log, but a log that loses its
//! tail gives numbers out again. A history trusts only the publishers: each topic has one, which
//! numbers its payloads upwards and sends the next one after the last one's receipt. So a client
//! that gets payload 7 after payload 4 lacks the payloads 5 and 6. An acknowledged one of them is
//! lost, unless the client was told of a gap in between. Pure: no clock, no I/O.

mod judgement;
mod reader;
mod transcript;

use std::collections::{BTreeMap, HashMap};

pub use judgement::Judgement;
use reader::SpaceReader;
use transcript::TopicPosition;
pub use transcript::{Entry, Transcript};

use crate::client::position::Position;

/// The record of one topic.
#[derive(Clone, Debug, Default)]
pub struct TopicHistory {
    /// The receipts: payload number and position.
    acknowledged: BTreeMap<u32, Position>,
    /// Payloads that can still be read at the end, and their positions.
    readable: BTreeMap<u32, Position>,
    /// The least number of these positions.
    oldest: Option<u64>,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct History {
    topics: Vec<TopicHistory>,
    clients: Vec<(usize, Transcript)>,
    /// Readers of topics that share a log.
    readers: Vec<SpaceReader>,
}

impl TopicHistory {
    /// The number of acknowledged events that the log does not have any more.
    fn gone(&self) -> u64 {
        let gone = self.acknowledged.keys().filter(|seq| !self.readable.contains_key(seq));
        gone.count() as u64
    }

    /// Returns true if the log has lost the event that it had at this position: it is not there any more, and not
    /// because the log keeps no more.
    fn has_taken_back(&self, at: Position, seq: u32) -> bool {
        self.readable.get(&seq) != Some(&at) && self.oldest.is_some_and(|oldest| oldest <= at.n)
    }
}

impl History {
    /// A run with so many topics of which nothing is known yet.
    pub fn new(topics: usize) -> Self {
        History { topics: vec![TopicHistory::default(); topics], ..History::default() }
    }

    /// Adds a client that subscribes to one topic before anything is published there.
    pub fn add_client(&mut self, topic: usize) -> usize {
        self.clients.push((topic, Transcript::default()));
        self.clients.len() - 1
    }

    /// Adds a reader of these topics of one log, before anything is published there. Returns its number.
    pub fn add_reader(&mut self, topics: &[usize], is_whole: bool) -> usize {
        self.readers.push(SpaceReader::new(topics, is_whole));
        self.readers.len() - 1
    }

    /// The reader got an event of a topic.
    pub fn read(&mut self, reader: usize, topic: usize, event: &Entry) {
        self.readers[reader].read(topic, event);
    }

    /// The reader was told of its position in the log.
    pub fn told(&mut self, reader: usize, entry: &Entry) {
        self.readers[reader].told(entry);
    }

    /// The log acknowledged payload `seq` (from 1) at this position.
    pub fn acknowledged(&mut self, topic: usize, seq: u32, at: Position) {
        self.topics[topic].acknowledged.insert(seq, at);
    }

    /// Payload `seq` can be read from the log after the run, at this position.
    pub fn readable(&mut self, topic: usize, seq: u32, at: Position) {
        let topic = &mut self.topics[topic];
        topic.readable.insert(seq, at);
        topic.oldest = Some(topic.oldest.map_or(at.n, |oldest| oldest.min(at.n)));
    }

    /// The client saw something.
    pub fn saw(&mut self, client: usize, entry: Entry) {
        self.clients[client].1.push(entry);
    }

    /// The highest acknowledged payload of a topic; 0 when there is none.
    pub fn newest(&self, topic: usize) -> u32 {
        self.topics[topic].acknowledged.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// The number of clients that lack their topic's newest acknowledged payload and heard of no
    /// gap
    /// since their last event.
    pub fn unfinished(&self) -> usize {
        let clients: usize = (0..self.topics.len()).map(|topic| self.unfinished_in(topic)).sum();
        let is_behind = |reader: &&SpaceReader| reader.is_behind(|topic| self.newest(topic));
        clients + self.readers.iter().filter(is_behind).count()
    }

    /// The same among the subscribers of one topic.
    pub fn unfinished_in(&self, topic: usize) -> usize {
        let newest = self.newest(topic);
        let is_behind = |client: &&Transcript| client.highest() < newest && !client.ends_with_gap();
        let here = self.clients.iter().filter(|(other, _)| *other == topic);
        here.map(|(_, client)| client).filter(is_behind).count()
    }

    /// The failures of the run.
    pub fn judge(&self) -> Judgement {
        let mut judgement = Judgement {
            clients: (self.clients.len() + self.readers.len()) as u64,
            ..Judgement::default()
        };
        let mut places: HashMap<TopicPosition, u32> = HashMap::new();
        for (index, topic) in self.topics.iter().enumerate() {
            judgement.acknowledged += topic.acknowledged.len() as u64;
            let lost = topic.acknowledged.keys().filter(|seq| !topic.readable.contains_key(seq));
            judgement.unreadable += lost.count() as u64;
            for (seq, at) in &topic.acknowledged {
                let seq_there = *places.entry((index, *at)).or_insert(*seq);
                judgement.contradictions += u64::from(seq_there != *seq);
            }
        }
        for (topic, client) in &self.clients {
            client.judge(*topic, &self.topics[*topic], &mut places, &mut judgement);
        }
        for reader in &self.readers {
            reader.judge(&self.topics, &mut places, &mut judgement);
        }
        judgement
    }

    /// Forgets one delivery, repeats one, or unsays one gap: the judgement has to notice.
    pub fn tamper(&mut self, tampering: Tampering) {
        let own = self.clients.iter_mut().map(|(_, transcript)| transcript);
        let mut all = own.chain(self.readers.iter_mut().flat_map(SpaceReader::transcripts));
        all.any(|transcript| transcript.tamper(tampering));
    }
}

/// A falsification of the deliveries, to prove that the judgement notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Tampering {
    /// The truth.
    #[default]
    None,
    /// A client's event in the middle of its stream is forgotten: must be reported lost.
    DropEvent,
    /// A client's last event is forgotten: must be reported lost.
    DropLast,
    /// A client's event is repeated: must be reported duplicated.
    RepeatEvent,
    /// Two events of a client change places: must be reported out of order.
    SwapEvents,
    /// A gap that a client was told of is forgotten: its events must be reported lost.
    DropGap,
}

#[cfg(test)]
mod tests;
