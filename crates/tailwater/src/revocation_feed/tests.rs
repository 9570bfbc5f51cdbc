use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use access::{Principal, Settings, Timestamp};
use event_log::{
    AppendError, Bookmark, Bounds, Key, LogName, MemoryLog, Page, Position, ReadError, Receipt,
    Sought, Tail,
};
use metrics::Registry;
use tokio::task::JoinHandle;
use tokio::time::advance;

use super::*;

const AGE: Duration = Duration::from_secs(100);
const HOUR: Duration = Duration::from_hours(1);

/// A log in memory that is away on demand.
#[derive(Debug)]
struct Flaky {
    memory: MemoryLog,
    is_away: AtomicBool,
}

/// The revocations that a node knows, as long as it runs.
struct Node {
    access: Access,
    has_read: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn log(events: usize) -> Arc<Flaky> {
    log_of(Retention { events, age: AGE, ..Retention::default() })
}

fn log_of(retention: Retention) -> Arc<Flaky> {
    Arc::new(Flaky { memory: MemoryLog::new(retention), is_away: AtomicBool::new(false) })
}

fn start(log: &Arc<Flaky>, events: usize, publishes: bool) -> Node {
    start_with(log, Retention { events, age: AGE, ..Retention::default() }, publishes)
}

fn start_with(log: &Arc<Flaky>, retention: Retention, publishes: bool) -> Node {
    let access = Access::closed(Settings::default(), &Registry::new());
    let log: Arc<dyn Log> = Arc::<Flaky>::clone(log);
    let feed = RevocationFeed::new(&access, &log, None, (retention, publishes));
    let has_read = feed.has_read();
    let task = tokio::spawn(async move { feed.run().await });
    Node { access, has_read, task }
}

/// A node that has read everything.
async fn ready(log: &Arc<Flaky>, events: usize, publishes: bool) -> Node {
    let mut node = start(log, events, publishes);
    node.has_read.wait_for(|has_read| *has_read).await.unwrap();
    node
}

impl Node {
    fn knows(&self, subject: &str) -> bool {
        self.access.revocations().concern(&Principal::new(subject, None, None))
    }
}

async fn revoke_for(log: &Flaky, subject: &str, time: Duration) {
    let until = Timestamp::now().later(time);
    let revocation = Revocation::new(Some(subject.to_owned()), None, until).unwrap();
    store(log, revocation.to_json()).await;
}

async fn revoke(log: &Flaky, subject: &str) {
    revoke_for(log, subject, 100 * HOUR).await;
}

async fn store(log: &Flaky, data: String) {
    let event = NewEvent { data: data.into(), ..NewEvent::default() };
    log.append(vec![Append::new(topic(), event)]).await.pop().unwrap().unwrap();
    // Longer than the nodes need to read it.
    sleep(Duration::from_secs(1)).await;
}

/// The number of events that were ever stored.
async fn stored(log: &Flaky) -> u64 {
    log.bounds(&topic()).await.unwrap().unwrap().head.n
}

#[tokio::test(start_paused = true)]
async fn a_node_reads_what_was_revoked_before_it_started_and_then_hears_of_more() {
    let log = log(100);
    revoke(&log, "ann").await;
    store(&log, "nonsense".to_owned()).await;
    revoke(&log, "bob").await;
    let node = ready(&log, 100, false).await;
    assert!(node.knows("ann") && node.knows("bob") && !node.knows("cat"));
    revoke(&log, "cat").await;
    assert!(node.knows("cat"));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_not_ready_before_the_log_is_there_and_misses_nothing_while_it_is_away() {
    let log = log(100);
    revoke(&log, "ann").await;
    log.is_away.store(true, Relaxed);
    let node = start(&log, 100, false);
    sleep(AGE / 4).await;
    assert!(!*node.has_read.borrow() && !node.knows("ann"));
    log.is_away.store(false, Relaxed);
    sleep(AGE / 4).await;
    assert!(*node.has_read.borrow() && node.knows("ann"), "it is read once the log is back");
    log.is_away.store(true, Relaxed);
    sleep(AGE / 4).await;
    log.is_away.store(false, Relaxed);
    revoke(&log, "bob").await;
    sleep(AGE / 4).await;
    assert!(node.knows("bob"));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_outlasts_the_age_of_the_log_on_nodes_that_publish_alone() {
    for publishes in [true, false] {
        let log = log(100);
        let _node = ready(&log, 100, publishes).await;
        revoke(&log, "ann").await;
        sleep(10 * AGE).await;
        assert_eq!(ready(&log, 100, false).await.knows("ann"), publishes);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_nodes_that_publish_one_stores_a_revocation_again() {
    let log = log(1000);
    let _nodes = [ready(&log, 1000, true).await, ready(&log, 1000, true).await];
    revoke(&log, "ann").await;
    sleep(20 * AGE).await;
    // Each time after half of the age or a little more.
    let times = stored(&log).await;
    assert!((25..=45).contains(&times), "{times}");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_not_pushed_out_by_others() {
    const EVENTS: usize = 40;
    // So old that age does not count here.
    let retention = Retention { events: EVENTS, ..Retention::default() };
    let log = log_of(retention);
    let _node = start_with(&log, retention, true);
    let held: Vec<_> = (0..EVENTS / 2).map(|n| format!("held-{n}")).collect();
    for name in &held {
        revoke(&log, name).await;
    }
    sleep(HOUR).await;
    assert_eq!(stored(&log).await, EVENTS as u64 / 2, "nothing has to be stored again yet");
    for n in 0..200 {
        revoke_for(&log, &format!("brief-{n}"), Duration::from_millis(1)).await;
        if n % 20 == 0 {
            let node = ready(&log, EVENTS, false).await;
            for name in &held {
                assert!(node.knows(name), "{name} after {n}");
            }
        }
    }
    // Dozens of looks, of which some put the moment off the least.
    sleep(6 * HOUR).await;
    let before = stored(&log).await;
    assert!(before < 1000, "{before}: an event of another makes two or three");
    sleep(HOUR).await;
    assert_eq!(stored(&log).await, before, "it comes to rest");
}

#[tokio::test(start_paused = true)]
async fn many_are_stored_again_in_time() {
    const EVENTS: usize = 20_000;
    let log = log(EVENTS);
    let until = Timestamp::now().later(100 * HOUR);
    let batch = (0..EVENTS / 2).map(|n| {
        let revocation = Revocation::new(None, Some(n.to_string()), until).unwrap();
        let event = NewEvent { data: revocation.to_json().into(), ..NewEvent::default() };
        Append::new(topic(), event)
    });
    assert!(log.append(batch.collect()).await.iter().all(Result::is_ok));
    let _node = ready(&log, EVENTS, true).await;
    sleep(2 * AGE).await;
    let late = ready(&log, EVENTS, false).await;
    assert_eq!(late.access.revocations().len(), EVENTS / 2);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_wiped_gets_back_the_revocations_that_hold() {
    let log = log(100);
    let node = ready(&log, 100, true).await;
    revoke(&log, "ann").await;
    log.memory.flush();
    revoke(&log, "bob").await;
    sleep(Duration::from_secs(10)).await;
    assert!(node.knows("ann"));
    let late = ready(&log, 100, false).await;
    assert!(late.knows("ann") && late.knows("bob"));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_is_over_is_not_stored_again() {
    let log = log(100);
    let _node = ready(&log, 100, true).await;
    revoke_for(&log, "ann", Duration::from_millis(1)).await;
    std::thread::sleep(Duration::from_millis(5));
    sleep(10 * AGE).await;
    assert_eq!(stored(&log).await, 1);
}

#[tokio::test(start_paused = true)]
async fn revocations_that_could_not_be_stored_again_are_tried_once_more() {
    let log = log(100);
    let _node = ready(&log, 100, true).await;
    revoke(&log, "ann").await;
    advance(AGE / 2).await;
    log.is_away.store(true, Relaxed);
    sleep(AGE / 4).await;
    assert_eq!(stored_ever(&log).await, 1);
    log.is_away.store(false, Relaxed);
    sleep(AGE).await;
    assert!(ready(&log, 100, false).await.knows("ann"));
}

async fn stored_ever(log: &Flaky) -> u64 {
    log.memory.bounds(&topic()).await.unwrap().unwrap().head.n
}

impl Flaky {
    fn check(&self) -> Result<(), ReadError> {
        match self.is_away.load(Relaxed) {
            true => Err(ReadError::Unavailable("away".to_owned())),
            false => Ok(()),
        }
    }
}

#[access::async_trait]
impl Log for Flaky {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        match self.is_away.load(Relaxed) {
            true => {
                batch.iter().map(|_| Err(AppendError::Unavailable("away".to_owned()))).collect()
            }
            false => self.memory.append(batch).await,
        }
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.check()?;
        self.memory.read(log, after, limit).await
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.check()?;
        self.memory.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.check()?;
        self.memory.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.check()?;
        self.memory.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.check()?;
        self.memory.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        self.check()?;
        self.memory.tail(log).await
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.check()?;
        self.memory.echo(log).await
    }
}
