//! The churn of single readers while others read: they come, go, come back and lag.

use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;
use tokio::time::Instant;

use super::Driver;
use super::reader::{Ending, Reader};

/// The least that the kernel grants a slow reader's socket: unread bytes wait elsewhere.
const SLOW_BYTES: usize = 4096;

impl Driver {
    /// Readers that are opened from now on remember the ids of events, and come back with them.
    pub fn keep_ids(&mut self) {
        self.keeps_ids = true;
    }

    /// The reader goes and another one comes in its place, with no cursor.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn replace(&mut self, reader: usize) -> Result<()> {
        let topic = self.readers[reader].topic();
        self.readers[reader] = Reader::new(topic, 0, self.keeps_ids, self.endpoint.dialect.mark());
        self.come_back(reader)
    }

    /// The reader closes its connection.
    pub fn leave(&mut self, reader: usize) {
        self.readers[reader].leave();
    }

    /// The reader connects again, with its cursor if it has one.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn come_back(&mut self, reader: usize) -> Result<()> {
        let own = &mut self.readers[reader];
        own.begin_again();
        let topic = &self.topics[own.topic()].name;
        let request = self.endpoint.stream_request(topic, own.id(), reader);
        self.connect(reader, request.into_bytes().into())
    }

    /// The reader reads seldom from now on: only between two pauses.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn slow_down(&mut self, reader: usize) -> Result<()> {
        let own = &mut self.readers[reader];
        own.slow_down();
        if let Some(stream) = own.stream() {
            SockRef::from(stream).set_recv_buffer_size(SLOW_BYTES)?;
        }
        Ok(())
    }

    /// The reader stops reading, or reads on.
    ///
    /// # Errors
    /// When it cannot read on.
    pub fn pause(&mut self, reader: usize, is_paused: bool) -> Result<()> {
        let own = &mut self.readers[reader];
        own.pause(is_paused);
        match own.ready(false, &mut self.buffer, &mut self.tally)? {
            Ending::Open => Ok(()),
            Ending::Closed => self.closed(reader),
        }
    }

    /// Publishes to these topics in turn, of which `done` events have been published before, until
    /// there are `events`. Returns the number of events.
    ///
    /// # Errors
    /// When one is refused.
    pub fn publish_up_to(
        &mut self,
        topics: std::ops::Range<usize>,
        done: u64,
        events: u64,
    ) -> Result<u64> {
        for event in done..events {
            let index = usize::try_from(event).unwrap_or(usize::MAX) % topics.len();
            self.put(topics.start + index);
        }
        for publisher in &mut self.publishers {
            publisher.ready(&mut self.buffer)?;
        }
        Ok(done.max(events))
    }

    /// Waits until every reader has its topic's last event. Returns the number of events that never
    /// came.
    ///
    /// # Errors
    /// When a stream cannot be opened again.
    pub fn catch_up(&mut self, patience: Duration) -> Result<u64> {
        let until = Instant::now() + patience;
        loop {
            let behind = |reader: &Reader| reader.behind(self.topics[reader.topic()].published);
            let missing = self.readers.iter().map(behind).sum();
            if missing == 0 || Instant::now() >= until {
                return Ok(missing);
            }
            self.turn(Duration::from_millis(100))?;
        }
    }
}
