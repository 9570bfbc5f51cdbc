//! Thousands of subscribers and the ledger of their deliveries.

mod ledger;
mod member;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub use self::ledger::Ledger;
use self::member::Member;
use crate::client::endpoint::Endpoint;
use crate::client::load::Published;
use crate::proof::checker::TopicId;
use crate::random::Random;
use crate::report::timeline::RunCounters;

/// A misbehaviour of the clients, to prove that the checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Clients behave.
    #[default]
    None,
    /// Clients reconnect without Last-Event-ID: events must be reported lost.
    NoResume,
    /// Clients reconnect with an older cursor: events must be reported duplicated.
    Replay,
}

/// The clients' treatment of a server that says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The heartbeat that they ask for; `None` leaves it to the gateway.
    pub heartbeat: Option<Duration>,
    /// A stream without a byte for this long is dead.
    pub silence_max: Duration,
    /// An attempt to connect without an answer for this long has failed.
    pub answer_timeout: Duration,
}

/// For gateways with a heartbeat of 15 s: two of them and some.
impl Default for Manners {
    fn default() -> Self {
        let [silence_max, answer_timeout] = [40, 10].map(Duration::from_secs);
        Manners { heartbeat: None, silence_max, answer_timeout }
    }
}

/// The subscribers of a run.
#[derive(Debug)]
pub struct Audience {
    shared: Arc<AudienceShared>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct AudienceShared {
    server: Endpoint,
    manners: Manners,
    topics: Arc<[String]>,
    topic_ids: Vec<TopicId>,
    sabotage: Sabotage,
    epoch: Instant,
    ledger: Mutex<Ledger>,
    tally: RunCounters,
}

impl AudienceShared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with the ledger in hand")
    }

    fn enter(&self, published: &Published) {
        let mut ledger = self.ledger();
        match &published.outcome {
            Ok(receipt) => {
                let topic = self.topic_ids[published.topic];
                ledger.checker.acknowledged(topic, receipt.at, published.seq);
                ledger.retried += u64::from(receipt.attempts > 1);
                ledger.duplicate_receipts += u64::from(receipt.duplicate);
                if receipt.topic != self.topics[published.topic] {
                    ledger.odd(|| format!("receipt for another topic: {receipt:?}"));
                }
                self.tally.published.fetch_add(1, Relaxed);
            }
            Err(error) => {
                ledger.unacknowledged += 1;
                ledger.odd(|| format!("publish: {error}"));
            }
        }
    }
}

impl Audience {
    /// An audience without clients. Payload times count from `epoch`.
    pub fn new(
        server: impl Into<Endpoint>,
        topics: Arc<[String]>,
        sabotage: Sabotage,
        epoch: Instant,
    ) -> Self {
        Audience::with_manners(server, topics, sabotage, epoch, Manners::default())
    }

    /// The same, with clients that treat a silent server so.
    pub fn with_manners(
        server: impl Into<Endpoint>,
        topics: Arc<[String]>,
        sabotage: Sabotage,
        epoch: Instant,
        manners: Manners,
    ) -> Self {
        let mut ledger = Ledger::default();
        let topic_ids = topics.iter().map(|_| ledger.checker.add_topic()).collect();
        let shared = AudienceShared {
            server: server.into(),
            manners,
            topics,
            topic_ids,
            sabotage,
            epoch,
            ledger: Mutex::new(ledger),
            tally: RunCounters::default(),
        };
        Audience { shared: Arc::new(shared), tasks: JoinSet::new() }
    }

    /// Lets clients in, `each` apart, evenly over the topics and in random order.
    pub async fn admit(&mut self, clients: usize, each: Duration, random: &mut Random) {
        let mut topics: Vec<usize> = (0..clients).map(|n| n % self.shared.topics.len()).collect();
        random.shuffle(&mut topics);
        let begin = Instant::now();
        for (index, topic) in (0..).zip(topics) {
            let id = self.shared.topic_ids[topic];
            let client = self.shared.ledger().checker.add_client(id);
            let member = Member::new(Arc::clone(&self.shared), client, topic);
            self.tasks.spawn(member.listen());
            let due: Duration = each * index;
            // Timers tick in milliseconds; several clients share one.
            if let Some(ahead) = due.checked_sub(begin.elapsed()) {
                sleep(ahead).await;
            }
        }
    }

    /// The topics.
    pub fn topics(&self) -> Arc<[String]> {
        Arc::clone(&self.shared.topics)
    }

    /// The moment from which payload times count.
    pub fn epoch(&self) -> Instant {
        self.shared.epoch
    }

    /// The counters.
    pub fn tally(&self) -> &RunCounters {
        &self.shared.tally
    }

    /// The ledger. Hold it briefly: every delivery waits for it.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// A function that enters the receipts of publishers.
    pub fn bookkeeper(&self) -> impl Fn(Published) + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |published| shared.enter(&published)
    }

    /// Closes all streams. Returns the ledger for good.
    pub async fn dismiss(mut self) -> Ledger {
        self.tasks.shutdown().await;
        std::mem::take(&mut self.shared.ledger())
    }
}
