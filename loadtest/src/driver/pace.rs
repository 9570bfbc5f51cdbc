//! How fast events are published, and to which topics.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Driver, PATIENCE};

/// How fast events are published.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many a second, whatever becomes of them.
    Rate(f64),
    /// So many at a time that have not reached everybody, and one a connection without receipt.
    Window(u64),
}

impl Driver {
    /// Publishes to the first topic for a time, then waits until everybody has everything.
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

    /// Publishes to the topics in turn, each of which has one reader, for a time; then waits until
    /// they have everything. A topic belongs to one connection, which keeps its events in order.
    ///
    /// # Errors
    /// When an event is refused, or a stream ends.
    pub fn publish_to_all_for(&mut self, pace: Pace, time: Duration) -> Result<u64> {
        let events = match pace {
            Pace::Rate(rate) => self.publish_at(rate, time)?,
            Pace::Window(window) => self.publish_in_turn(window, time)?,
        };
        self.settle(events)?;
        Ok(events)
    }

    fn publish_in_turn(&mut self, window: u64, time: Duration) -> Result<u64> {
        let connections = self.publishers.len();
        // Events that one connection may have under way.
        let depth = (window / connections as u64).max(1);
        let mut turns: Vec<usize> = (0..connections).collect();
        let (mut events, until) = (0, Instant::now() + time);
        while Instant::now() < until {
            for (index, topic) in turns.iter_mut().enumerate() {
                while self.publishers[index].in_flight() < depth
                    && events < self.tally.delivered + self.tally.lost + window
                {
                    self.put(*topic);
                    events += 1;
                    let next = *topic + connections;
                    *topic = if next < self.topics.len() { next } else { index };
                }
                self.publishers[index].ready(&mut self.buffer)?;
            }
            self.turn(Duration::from_millis(10))?;
        }
        Ok(events)
    }

    /// Publishes to the topics in turn for a time, whoever reads them: `depth` events at once by each
    /// connection, and the next ones when these have their receipts. How many events that were.
    ///
    /// # Errors
    /// When an event is refused or gets no receipt.
    pub fn publish_for_receipts(&mut self, depth: u64, time: Duration) -> Result<u64> {
        let connections = self.publishers.len();
        let mut turns: Vec<usize> = (0..connections).collect();
        let (mut events, until) = (0, Instant::now() + time);
        while Instant::now() < until {
            for (index, topic) in turns.iter_mut().enumerate() {
                if self.publishers[index].in_flight() > 0 {
                    continue;
                }
                for _ in 0..depth {
                    self.put(*topic);
                    let next = *topic + connections;
                    *topic = if next < self.topics.len() { next } else { index };
                }
                events += depth;
                self.publishers[index].ready(&mut self.buffer)?;
            }
            self.turn(Duration::from_millis(10))?;
        }
        let until = Instant::now() + PATIENCE;
        while self.publishers.iter().any(|publisher| publisher.in_flight() > 0) {
            ensure!(Instant::now() < until, "some events got no receipt");
            self.turn(Duration::from_millis(10))?;
        }
        Ok(events)
    }

    /// How many events of this phase everybody has got, or lost.
    fn through(&self) -> u64 {
        (self.tally.delivered + self.tally.lost) / (self.readers.len() as u64).max(1)
    }
}
