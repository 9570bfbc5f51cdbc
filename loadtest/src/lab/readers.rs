//! The subscribers of a trial.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::books::Books;
use super::room;
use super::seat::{Listener, Reads, Seat};
use crate::client::load::Published;
use crate::proof::history::History;
use crate::report::timeline::RunCounters;

/// Subscribers, each to one topic or to a part of the space, and the books of their deliveries.
#[derive(Debug)]
pub struct LabCrowd {
    shared: Arc<LabShared>,
    tasks: JoinSet<()>,
}

/// The state that all subscribers share.
#[derive(Debug)]
pub struct LabShared {
    pub(super) gateways: Vec<SocketAddr>,
    pub(super) topics: Arc<[String]>,
    pub(super) epoch: Instant,
    books: Mutex<Books>,
    tally: RunCounters,
    pub(super) away: watch::Sender<bool>,
    /// For each gateway when it was last broken, in milliseconds since the epoch.
    harmed: Vec<AtomicU64>,
    pub(super) started: AtomicUsize,
}

impl LabShared {
    /// The books. Hold them briefly: every delivery waits for them.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nobody panics with the books in hand")
    }

    /// The counters.
    pub fn tally(&self) -> &RunCounters {
        &self.tally
    }

    /// True if the lab broke the gateway since this moment.
    pub(super) fn was_harmed_since(&self, gateway: usize, opened: Duration) -> bool {
        u128::from(self.harmed[gateway].load(Relaxed)) >= opened.as_millis().max(1)
    }

    fn enter(&self, published: &Published, in_room: bool) {
        let mut books = self.books();
        match &published.outcome {
            Ok(receipt) => {
                let (topic, seq) = (published.topic, published.seq);
                if in_room {
                    books.room.acknowledged(topic, seq, receipt.at);
                } else {
                    books.history.acknowledged(topic, seq, receipt.at);
                    books.acknowledged.insert((topic, seq), Instant::now());
                }
                books.retried += u64::from(receipt.attempts > 1);
                books.duplicate_receipts += u64::from(receipt.duplicate);
                self.tally.published.fetch_add(1, Relaxed);
            }
            Err(error) => {
                books.unacknowledged += 1;
                books.odd(|| format!("publish: {error}"));
            }
        }
    }
}

impl LabCrowd {
    pub(super) fn new(gateways: Vec<SocketAddr>, topics: Arc<[String]>, epoch: Instant) -> Self {
        let books = Books {
            history: History::new(topics.len()),
            room: History::new(room::TOPICS.len()),
            ..Books::default()
        };
        let harmed = gateways.iter().map(|_| AtomicU64::new(0)).collect();
        let shared = LabShared {
            gateways,
            topics,
            epoch,
            books: Mutex::new(books),
            tally: RunCounters::default(),
            away: watch::channel(false).0,
            harmed,
            started: AtomicUsize::new(0),
        };
        LabCrowd { shared: Arc::new(shared), tasks: JoinSet::new() }
    }

    /// Lets one more subscriber in.
    pub fn seat(&mut self, seat: Seat) {
        let client = match seat.reads {
            Reads::Topic(topic) => self.books().history.add_client(topic),
            Reads::Room(part) => self.books().room.add_reader(part.topics, part.is_whole()),
        };
        self.tasks.spawn(Listener::new(Arc::clone(&self.shared), client, seat).listen());
    }

    /// The number of subscribers.
    pub fn seats(&self) -> usize {
        self.tasks.len()
    }

    /// The number of subscribers that have had a stream.
    pub fn started(&self) -> usize {
        self.shared.started.load(Relaxed)
    }

    /// Sends the travellers away, or lets them come back with their old cursors.
    pub fn travel(&self, away: bool) {
        self.shared.away.send_replace(away);
    }

    /// This gateway is about to be broken: the streams that end with it are not its doing.
    pub fn harm(&self, gateway: usize) {
        let now = u64::try_from(self.epoch().elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.harmed[gateway].store(now.max(1), Relaxed);
    }

    /// The topics; the last one has no load.
    pub fn topics(&self) -> &[String] {
        &self.shared.topics
    }

    /// The moment from which payloads count.
    pub fn epoch(&self) -> Instant {
        self.shared.epoch
    }

    /// The books.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books()
    }

    /// A second handle to the books.
    pub fn handle(&self) -> Arc<LabShared> {
        Arc::clone(&self.shared)
    }

    /// A function that enters the receipts of publishers.
    pub fn bookkeeper(&self) -> impl Fn(Published) + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |published| shared.enter(&published, false)
    }

    /// A function that enters the receipts of the publishers of the space.
    pub(super) fn room_keeper(&self) -> impl Fn(Published) + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |published| shared.enter(&published, true)
    }

    /// Closes all streams.
    pub async fn dismiss(&mut self) {
        self.tasks.shutdown().await;
    }
}
