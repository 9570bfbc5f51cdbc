//! One reader of topics that share a log.

use std::collections::HashMap;

use super::TopicHistory;
use super::judgement::Judgement;
use super::transcript::{Entry, TopicPosition, Transcript};

/// A reader of some topics of a log, or of all. It has a transcript for each topic, since each topic has one publisher,
/// which numbers its payloads. What it is told of the log stands in all of them.
#[derive(Clone, Debug)]
pub(super) struct SpaceReader {
    topics: Vec<(usize, Transcript)>,
    /// True if it reads all topics of the log, so that gaps can be counted.
    is_whole: bool,
    gaps: u64,
    rewinds: u64,
    /// The sum of the numbers of its gaps; `None` if one of them had none.
    counted: Option<u64>,
}

impl SpaceReader {
    pub(super) fn new(topics: &[usize], is_whole: bool) -> Self {
        let topics = topics.iter().map(|topic| (*topic, Transcript::default())).collect();
        SpaceReader { topics, is_whole, gaps: 0, rewinds: 0, counted: Some(0) }
    }

    /// It got an event of a topic, which moves its position in the log.
    pub(super) fn read(&mut self, topic: usize, event: &Entry) {
        let Entry::Event { at, .. } = *event else { return };
        for (other, transcript) in &mut self.topics {
            transcript.push(if *other == topic { event.clone() } else { Entry::PassedBy { at } });
        }
    }

    /// It was told of a gap, or that it has passed events by.
    pub(super) fn told(&mut self, entry: &Entry) {
        if let Entry::Gap { missed, is_rewind, .. } = *entry {
            self.gaps += 1;
            self.rewinds += u64::from(is_rewind);
            self.counted = self.counted.zip(missed).map(|(one, two)| one + two);
        }
        self.topics.iter_mut().for_each(|(_, transcript)| transcript.push(entry.clone()));
    }

    /// Returns true if it lacks the newest payload of a topic, and heard of no gap since its last event there.
    pub(super) fn is_behind(&self, newest: impl Fn(usize) -> u32) -> bool {
        let is_behind = |(topic, client): &(usize, Transcript)| {
            client.highest() < newest(*topic) && !client.ends_with_gap()
        };
        self.topics.iter().any(is_behind)
    }

    pub(super) fn transcripts(&mut self) -> impl Iterator<Item = &mut Transcript> {
        self.topics.iter_mut().map(|(_, transcript)| transcript)
    }

    pub(super) fn judge(
        &self,
        topics: &[TopicHistory],
        places: &mut HashMap<TopicPosition, u32>,
        judgement: &mut Judgement,
    ) {
        let mut own = Judgement::default();
        for (topic, transcript) in &self.topics {
            transcript.judge_shared(*topic, &topics[*topic], places, &mut own);
        }
        judgement.add_deliveries(&own);
        judgement.gaps += self.gaps;
        judgement.rewinds += self.rewinds;
        let missing = own.missing + own.missing_unnumbered;
        match self.counted {
            Some(counted) if self.is_whole => {
                judgement.announced += counted;
                judgement.missing += missing;
            }
            Some(bound) => {
                let gone: u64 = topics.iter().map(TopicHistory::gone).sum();
                judgement.bounded += missing;
                judgement.bounds += bound;
                judgement.bounds_too_low += u64::from(bound < missing);
                judgement.bounds_too_high += u64::from(bound > gone);
            }
            None => judgement.missing_unnumbered += missing,
        }
    }
}
