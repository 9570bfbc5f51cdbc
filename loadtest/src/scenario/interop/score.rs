//! The judgement of one client after one fault.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::manifest::Format;

/// Most requests within a second that are no flood: a client that returns at once, and a page's own retry.
const PEAK_MAX: usize = 5;
/// Letters between the two numbers of a mark, so that a cut falls inside.
const PAD: usize = 24;
/// Odd messages and lost events that a report shows.
const EXAMPLES: usize = 3;

/// The text that stands for an event: `event-17-xxxx-17`. No part of it is a mark.
pub(super) fn mark(number: u32) -> String {
    let pad: String =
        (b'a'..=b'z').cycle().skip(number as usize % 26).take(PAD).map(char::from).collect();
    format!("event-{number}-{pad}-{number}")
}

fn number(line: &str) -> Option<u32> {
    let number = line.strip_prefix("event-")?.split_once('-')?.0.parse().ok()?;
    (mark(number) == line).then_some(number)
}

/// The behaviour of a client at the end of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndBehaviour {
    /// It asks no more.
    Stops,
    /// It asks again and again.
    Polls,
}

/// The account of one client after one fault.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Score {
    /// It had a stream.
    pub(super) connected: bool,
    /// Events that were published.
    pub(super) published: u32,
    pub(super) lost: u32,
    /// The numbers of the first ones.
    pub(super) lost_examples: Vec<u32>,
    pub(super) doubled: usize,
    pub(super) disordered: usize,
    pub(super) odd: usize,
    pub(super) odd_examples: Vec<String>,
    /// The program ended before the trial did.
    pub(super) exited: bool,
    /// Requests for events in the whole trial.
    pub(super) requests: usize,
    /// Most requests within a second.
    pub(super) peak: usize,
    /// Its behaviour at the end, in the trial of it.
    pub(super) end: Option<EndBehaviour>,
}

impl Score {
    /// Judges the lines that the application printed.
    pub(super) fn of(lines: &[String], format: &Format, published: u32) -> Score {
        let mut score = Score { published, ..Score::default() };
        let (mut seen, mut last) = (HashSet::new(), 0);
        for line in lines {
            let Some(number) = number(line) else {
                let is_publishers = format.first.contains(line) || format.last.contains(line);
                if !is_publishers {
                    score.odd += 1;
                    if score.odd_examples.len() < EXAMPLES {
                        score.odd_examples.push(line.clone());
                    }
                }
                continue;
            };
            if !seen.insert(number) {
                score.doubled += 1;
            } else if number < last {
                score.disordered += 1;
            }
            last = number.max(last);
        }
        let lost = (1..=published).filter(|number| !seen.contains(number));
        score.lost_examples = lost.clone().take(EXAMPLES).collect();
        score.lost = lost.count().try_into().unwrap_or(u32::MAX);
        score
    }

    /// True if every event has come once, in its order, and nothing else.
    pub(super) fn is_perfect(&self) -> bool {
        self.connected
            && [self.doubled, self.disordered, self.odd] == [0; 3]
            && self.lost == 0
            && self.peak <= PEAK_MAX
            && self.end != Some(EndBehaviour::Polls)
    }

    /// The judgement for a cell of a table.
    pub(super) fn words(&self) -> String {
        if self.is_perfect() {
            return "✓".to_owned();
        }
        if !self.connected {
            return "no stream".to_owned();
        }
        let mut words = Vec::new();
        if self.lost > 0 {
            let exited = if self.exited { ", ended" } else { "" };
            words.push(format!("{} of {} lost{exited}", self.lost, self.published));
        }
        let counts =
            [(self.doubled, "doubled"), (self.disordered, "out of order"), (self.odd, "odd")];
        words.extend(
            counts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")),
        );
        if self.end == Some(EndBehaviour::Polls) {
            words.push("polls for ever".to_owned());
        }
        if self.peak > PEAK_MAX {
            words.push(format!("{} requests/s", self.peak));
        }
        words.join(", ")
    }

    /// The judgement for a report, with examples of odd messages.
    pub(super) fn in_full(&self) -> String {
        let mut text = format!("{}; {} requests", self.words(), self.requests);
        if let [first, ..] = self.lost_examples[..] {
            write!(text, "; the first lost one is {first}").expect("a String takes everything");
        }
        for example in &self.odd_examples {
            write!(text, "; odd: {example:?}").expect("a String takes everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{EndBehaviour, Format, Score, mark};

    fn score(lines: &[&str], published: u32) -> Score {
        let format = Format {
            kind: None,
            first: vec!["hello".to_owned()],
            each: "%".to_owned(),
            last: vec!["[DONE]".to_owned()],
            last_type: None,
        };
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Score { connected: true, ..Score::of(&lines, &format, published) }
    }

    #[test]
    fn every_event_once_and_in_order_is_perfect() {
        let lines = ["hello", &mark(1), &mark(2), &mark(3), "[DONE]"];
        let score = score(&lines, 3);
        assert!(score.is_perfect(), "{score:?}");
        assert_eq!(score.words(), "✓");
    }

    #[test]
    fn each_fault_is_counted() {
        let cut = &mark(5)[..20];
        let score = score(&[&mark(1), &mark(4), &mark(2), &mark(4), cut, ""], 5);
        let counts = (score.lost, score.doubled, score.disordered, score.odd);
        assert_eq!(counts, (2, 1, 1, 2), "{score:?}");
        assert_eq!(score.words(), "2 of 5 lost, 1 doubled, 1 out of order, 2 odd");
    }

    #[test]
    fn clients_that_flood_or_poll_are_not_perfect() {
        let perfect = score(&[&mark(1)], 1);
        let polls = Score { end: Some(EndBehaviour::Polls), ..perfect.clone() };
        let floods = Score { peak: 90, ..perfect.clone() };
        let absent = Score { connected: false, ..perfect };
        let words = [polls, floods, absent].map(|score| score.words());
        assert_eq!(words, ["polls for ever", "90 requests/s", "no stream"]);
    }
}
