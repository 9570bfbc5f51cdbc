//! The pace of publishing, and the topics in turn.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Driver, PATIENCE};

/// The pace of publishing.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many a second, even if the server does not keep up.
    Rate(f64),
    /// So many at a time that have not reached all readers. Of several connections each has its
    /// share, which it publishes at once when it has the receipts for the last.
    Window(u64),
}

impl Driver {
    /// Publishes to the first topic for a time, then waits until every reader has every event.
    ///
    /// # Errors
    /// When an event is refused, or a stream ends.
    pub fn publish_for(&mut self, pace: Pace, time: Duration) -> Result<u64> {
        let events = match pace {
            Pace::Rate(rate) => self.publish_at(rate, time)?,
            Pace::Window(window) => {
                let (mut events, until) = (0, Instant::now() + time);
                while Instant::now() < until {
                    let room = (self.through() + window).saturating_sub(events);
                    self.publish(room)?;
                    events += room;
                    self.turn(Duration::from_millis(10))?;
                }
                events
            }
        };
        self.settle(events * self.readers.len() as u64)?;
        Ok(events)
    }

    /// Publishes at a fixed rate to all topics in turn, and waits for nothing at the end.
    ///
    /// # Errors
    /// When an event is refused, or a stream ends.
    pub fn publish_at(&mut self, rate: f64, time: Duration) -> Result<u64> {
        let start = Instant::now();
        let events = (rate * time.as_secs_f64()).round() as u64;
        for event in 0..events {
            self.run_until(start + Duration::from_secs_f64(event as f64 / rate))?;
            let topic = usize::try_from(event).unwrap_or(usize::MAX) % self.topics.len();
            let publisher = topic % self.publishers.len();
            self.put(topic);
            self.publishers[publisher].ready(&mut self.buffer)?;
        }
        Ok(events)
    }

    /// Publishes to the topics in turn, each of which has one reader and the watchers of all, for a
    /// time; then waits until the readers have every event. A topic belongs to one connection, which
    /// keeps its events in order.
    ///
    /// # Errors
    /// When an event is refused, or a stream ends.
    pub fn publish_to_all_for(&mut self, pace: Pace, time: Duration) -> Result<u64> {
        let events = match pace {
            Pace::Rate(rate) => self.publish_at(rate, time)?,
            Pace::Window(window) => self.publish_in_turn(window, time)?,
        };
        self.settle(events * self.copies())?;
        Ok(events)
    }

    fn publish_in_turn(&mut self, window: u64, time: Duration) -> Result<u64> {
        // Events that one connection may have under way.
        let depth = (window / self.publishers.len() as u64).max(1);
        let mut turns: Vec<usize> = (0..self.publishers.len()).collect();
        let (mut events, until) = (0, Instant::now() + time);
        while Instant::now() < until {
            let through = (self.tally.delivered + self.tally.lost) / self.copies();
            events += self.hand_in(&mut turns, depth, (through + window).saturating_sub(events))?;
        }
        Ok(events)
    }

    /// Publishes to the topics in turn for a time, with or without readers: `depth` events at once
    /// by each connection, and the next ones when these have their receipts. Returns the number of
    /// events.
    ///
    /// # Errors
    /// When an event is refused or gets no receipt.
    pub fn publish_for_receipts(&mut self, depth: u64, time: Duration) -> Result<u64> {
        let mut turns: Vec<usize> = (0..self.publishers.len()).collect();
        let (mut events, until) = (0, Instant::now() + time);
        while Instant::now() < until {
            events += self.hand_in(&mut turns, depth, u64::MAX)?;
        }
        let until = Instant::now() + PATIENCE;
        while self.publishers.iter().any(|publisher| publisher.in_flight() > 0) {
            ensure!(Instant::now() < until, "some events got no receipt");
            self.turn(Duration::from_millis(10))?;
        }
        Ok(events)
    }

    /// Lets each connection that waits for no receipt publish `depth` events at once to its next
    /// topics, `turns`, as long as that makes no more than `most`; then turns once. Returns the
    /// number of events.
    fn hand_in(&mut self, turns: &mut [usize], depth: u64, most: u64) -> Result<u64> {
        let mut events = 0;
        for (index, topic) in turns.iter_mut().enumerate() {
            if self.publishers[index].in_flight() == 0 && events + depth <= most {
                for _ in 0..depth {
                    self.put(*topic);
                    let next = *topic + self.publishers.len();
                    *topic = if next < self.topics.len() { next } else { index };
                }
                events += depth;
            }
            self.publishers[index].ready(&mut self.buffer)?;
        }
        self.turn(Duration::from_millis(10))?;
        Ok(events)
    }

    /// The number of this phase's events that every reader has got, or lost.
    fn through(&self) -> u64 {
        (self.tally.delivered + self.tally.lost) / (self.readers.len() as u64).max(1)
    }
}
