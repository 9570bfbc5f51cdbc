//! All loads at once, for a time: one topic for many, many topics for one each, readers that come,
//! go, come back, and hardly read.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use crate::cost::contender::{Holding, Stack};
use crate::cost::driver::{Driver, PublishWire, Tally};
use crate::random::Random;
use crate::report::histogram::Quantiles;

/// The pause between two choices of readers, and between two batches of events.
const TICK: Duration = Duration::from_millis(20);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A reader that goes away comes back after this time.
const AWAY: Duration = Duration::from_secs(3);
/// A slow reader reads for a second of this long.
const SLOW_PERIOD: Duration = Duration::from_secs(10);
const SLOW_READS: Duration = Duration::from_secs(1);
/// At the end, for connections that are being made, and for the last event.
const PAUSE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
const PUBLISHERS: usize = 16;

/// The load of a run.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Readers of the one topic.
    pub readers: usize,
    /// Its events a second.
    pub rate: f64,
    /// Topics with a reader each.
    pub topics: usize,
    /// Their events a second, of all together.
    pub topics_rate: f64,
    /// The share of all readers that is replaced each second: by new ones, or by themselves, with
    /// their cursor.
    pub churn: f64,
    /// The share of the one topic's readers that goes away each second and comes back later.
    pub away: f64,
    /// The share of the one topic's readers that hardly reads.
    pub slow: f64,
    /// The length of the run.
    pub time: Duration,
    /// The size of an event's data.
    pub event_bytes: usize,
    /// Chooses the readers.
    pub seed: u64,
}

/// The result of a run.
#[derive(Debug)]
pub struct Course {
    /// The deliveries of all readers.
    pub tally: Tally,
    /// Each second.
    pub samples: Vec<MixSample>,
    /// Readers that were replaced, and that came back after a while.
    pub replaced: u64,
    /// See `replaced`.
    pub returned: u64,
    /// Files that were open before the first reader came, and after the last one had gone.
    pub files: [u64; 2],
}

/// One second.
#[derive(Debug, Clone, Serialize)]
pub struct MixSample {
    /// Since the beginning.
    pub seconds: f64,
    /// Deliveries a second.
    pub deliveries: f64,
    /// Of readers that were connected.
    pub latency: Quantiles,
    /// The server's processes.
    pub holdings: Vec<Holding>,
}

impl Mix {
    /// Runs the load on this thread and hands each sample to `status`.
    ///
    /// # Errors
    /// When an event is refused or the server cannot be reached.
    pub fn run(self, server: &Stack, status: impl Fn(&MixSample)) -> Result<Course> {
        let files_before = files(server)?;
        let mut driver = Driver::new(server.endpoint(), self.event_bytes, Instant::now())?;
        driver.keep_ids();
        driver.publish_over(PUBLISHERS, PublishWire::Posts)?;
        driver.use_topics(1 + self.topics);
        driver.open(self.readers, None, 1)?;
        driver.open_topics(1)?;
        let slow = (self.slow * self.readers as f64) as usize;
        (0..slow).try_for_each(|reader| driver.slow_down(reader))?;
        let mut play = Play {
            mix: self,
            driver,
            random: Random::new(self.seed),
            slow,
            away: Vec::new(),
            is_away: vec![false; self.readers],
            course: Course {
                tally: Tally::new(Instant::now()),
                samples: Vec::new(),
                replaced: 0,
                returned: 0,
                files: [files_before, 0],
            },
        };
        play.run(server, status)?;
        play.end(server)
    }
}

struct Play {
    mix: Mix,
    driver: Driver,
    random: Random,
    slow: usize,
    /// The times of return and the readers, in order of time.
    away: Vec<(Instant, usize)>,
    is_away: Vec<bool>,
    course: Course,
}

impl Play {
    fn run(&mut self, server: &Stack, status: impl Fn(&MixSample)) -> Result<()> {
        let begin = Instant::now();
        let (mut to_one, mut to_many, mut churned, mut left) = (0, 0, 0, 0);
        let mut next_sample = begin + SAMPLE_EVERY;
        let mut is_paused = false;
        let all = self.mix.readers + self.mix.topics;
        while begin.elapsed() < self.mix.time {
            let seconds = begin.elapsed().as_secs_f64();
            let due = |rate: f64| (rate * seconds) as u64;
            to_one = self.driver.publish_up_to(0..1, to_one, due(self.mix.rate))?;
            if self.mix.topics > 0 {
                let topics = 1..1 + self.mix.topics;
                to_many = self.driver.publish_up_to(topics, to_many, due(self.mix.topics_rate))?;
            }
            while churned < due(self.mix.churn * all as f64) {
                self.replace_one()?;
                churned += 1;
            }
            while left < due(self.mix.away * self.mix.readers as f64) {
                self.send_one_away();
                left += 1;
            }
            self.bring_back(Instant::now())?;
            let phase = begin.elapsed().as_secs_f64() % SLOW_PERIOD.as_secs_f64();
            if (phase >= SLOW_READS.as_secs_f64()) != is_paused {
                is_paused = !is_paused;
                (0..self.slow).try_for_each(|reader| self.driver.pause(reader, is_paused))?;
            }
            if Instant::now() >= next_sample {
                next_sample += SAMPLE_EVERY;
                self.sample(server, seconds, &status)?;
            }
            self.driver.idle(TICK)?;
        }
        Ok(())
    }

    /// A reader that is neither slow nor away.
    fn pick(&mut self, among: usize) -> Option<usize> {
        let picked = self.slow + (self.random.draw() as usize) % (among - self.slow).max(1);
        let is_away = self.is_away.get(picked).copied().unwrap_or(false);
        (picked < among && !is_away).then_some(picked)
    }

    fn replace_one(&mut self) -> Result<()> {
        let Some(reader) = self.pick(self.mix.readers + self.mix.topics) else { return Ok(()) };
        self.course.replaced += 1;
        if self.random.draw().is_multiple_of(2) {
            self.driver.replace(reader)
        } else {
            self.driver.come_back(reader)
        }
    }

    fn send_one_away(&mut self) {
        if let Some(reader) = self.pick(self.mix.readers) {
            self.driver.leave(reader);
            self.is_away[reader] = true;
            self.away.push((Instant::now() + AWAY, reader));
        }
    }

    fn bring_back(&mut self, now: Instant) -> Result<()> {
        let due = self.away.iter().take_while(|(at, _)| *at <= now).count();
        for (_, reader) in self.away.drain(..due).collect::<Vec<_>>() {
            self.is_away[reader] = false;
            self.course.returned += 1;
            self.driver.come_back(reader)?;
        }
        Ok(())
    }

    fn sample(&mut self, server: &Stack, seconds: f64, status: impl Fn(&MixSample)) -> Result<()> {
        let tally = self.driver.reset();
        let since = self.course.samples.last().map_or(0.0, |sample| sample.seconds);
        let sample = MixSample {
            seconds,
            deliveries: tally.delivered as f64 / (seconds - since),
            latency: tally.latency.quantiles(),
            holdings: server.holdings()?,
        };
        self.course.tally.add(&tally);
        status(&sample);
        self.course.samples.push(sample);
        Ok(())
    }

    /// Publishes a last event to every reader, and takes a last sample.
    fn end(mut self, server: &Stack) -> Result<Course> {
        (0..self.slow).try_for_each(|reader| self.driver.pause(reader, false))?;
        self.bring_back(Instant::now() + AWAY)?;
        self.driver.idle(PAUSE)?;
        let topics = 1 + self.mix.topics;
        self.driver.publish_up_to(0..topics, 0, topics as u64)?;
        let missing = self.driver.catch_up(PATIENCE)?;
        self.course.tally.add(&self.driver.reset());
        self.course.tally.lost += missing;
        self.driver.close();
        self.driver.publish_over(0, PublishWire::Posts)?;
        self.driver.idle(PAUSE)?;
        self.course.files[1] = files(server)?;
        Ok(self.course)
    }
}

/// The files that the server's own processes have open.
fn files(server: &Stack) -> Result<u64> {
    let holdings = server.holdings()?;
    Ok(holdings.iter().filter(|holding| holding.name != "redis").map(|h| h.files).sum())
}
