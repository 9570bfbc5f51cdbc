//! A lane against a server that answers when a test lets it, or hangs up.

use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use event_log::{NewEvent, Topic};
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _, poll};
use redis::ValueCodec;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::codec::Framed;

use super::super::peer::Appending;
use super::super::proof::Proof;
use super::*;
use crate::address::Address;
use crate::config::Config;
use crate::error::Meaning;
use crate::publish::Publisher;

/// The server, a double.
struct Double {
    version: &'static str,
    /// Runs of the script that the server may answer.
    answers: Semaphore,
    /// The run at which the server hangs up instead.
    hang_up_at: AtomicU64,
    /// The data of the events of each run.
    runs: Mutex<Vec<Vec<String>>>,
    stored: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Double {
    fn new(answers: usize) -> Arc<Self> {
        Self::of_version("7.2.4", answers)
    }

    fn of_version(version: &'static str, answers: usize) -> Arc<Self> {
        Arc::new(Self {
            version,
            answers: Semaphore::new(answers),
            hang_up_at: AtomicU64::new(NEVER),
            runs: Mutex::default(),
            stored: AtomicU64::new(0),
        })
    }

    async fn start(self: &Arc<Self>) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let double = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let double = Arc::clone(&double);
                tokio::spawn(async move { double.serve(stream).await });
            }
        });
        Address::new("127.0.0.1", port)
    }

    async fn serve(&self, stream: TcpStream) {
        let mut framed = Framed::new(stream, ValueCodec::default());
        while let Some(Ok(command)) = framed.next().await {
            let words: Vec<String> = redis::from_redis_value(command).unwrap();
            let reply = match &*words[0] {
                "HELLO" => {
                    let fields = ["role", "master", "version", self.version].map(bulk);
                    [b"*4\r\n".to_vec(), fields.concat()].concat()
                }
                "EVALSHA" => {
                    let (runs, line) = self.run(&words);
                    if runs == self.hang_up_at.load(Ordering::Relaxed) {
                        return;
                    }
                    self.answers.acquire().await.unwrap().forget();
                    line
                }
                _ => b"+OK\r\n".to_vec(),
            };
            framed.send(reply).await.unwrap();
        }
    }

    /// Takes a run. Returns its number, from 1, and the reply to it.
    fn run(&self, words: &[String]) -> (u64, Vec<u8>) {
        let names: usize = words[2].parse().unwrap();
        let events: Vec<_> = words[3 + names + 8..]
            .chunks(2)
            .map(|event| event[0].trim_start_matches('\n').to_owned())
            .collect();
        let line = |_: &String| format!("0 1-{}", self.stored.fetch_add(1, Ordering::Relaxed) + 1);
        let lines: Vec<_> = events.iter().map(line).collect();
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push(events);
        (runs.len() as u64, bulk(&lines.join("\n")))
    }

    fn runs(&self) -> Vec<Vec<String>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for this number of runs.
    async fn has_runs(&self, count: usize) {
        while self.runs().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

async fn lane(double: &Arc<Double>) -> Lane {
    let config =
        Config { timeout: Duration::from_secs(5), ..Config::new("redis://x".parse().unwrap()) };
    let appending = Appending {
        publisher: Arc::new(Publisher::new(&config)),
        witnesses: Arc::default(),
        proof: Proof::new(&config),
    };
    let writer = Writer::new(double.start().await, config.access().1, appending, false);
    let patience = Duration::from_millis(100);
    let (lane, task) = Lane::new(writer, CancellationToken::new(), patience, Arc::default());
    tokio::spawn(task);
    lane
}

/// Appends events of these data to one topic.
async fn append(lane: &Lane, data: &[&str]) -> Answers {
    let append = |data: &&str| {
        let event = NewEvent { data: (*data).into(), ..NewEvent::default() };
        Append::new(Topic::new("t").unwrap(), event)
    };
    let appends: Arc<[Append]> = data.iter().map(append).collect();
    lane.append(&appends, (0..data.len()).collect(), false).await
}

fn numbers(answers: &Answers) -> Vec<u64> {
    answers.iter().map(|answer| answer.as_ref().unwrap().position().unwrap().n).collect()
}

fn meanings(answers: &Answers) -> Vec<Meaning> {
    let asked = Address::new("x", 1);
    answers.iter().map(|answer| answer.as_ref().unwrap_err().meaning(&asked)).collect()
}

#[tokio::test]
async fn a_single_append_is_sent_at_once() {
    let double = Double::new(usize::MAX >> 4);
    let lane = lane(&double).await;
    for n in 1..=3 {
        assert_eq!(numbers(&append(&lane, &["x"]).await), [n]);
    }
    assert_eq!(double.runs(), [["x"], ["x"], ["x"]]);
}

#[tokio::test]
async fn appends_that_arrive_meanwhile_form_one_batch_each_in_its_order() {
    let double = Double::new(0);
    let lane = lane(&double).await;
    let mut first = pin!(append(&lane, &["first"]));
    assert!(poll!(&mut first).is_pending());
    double.has_runs(1).await;
    let callers: Vec<_> = (0..10).map(|i| [format!("{i}a"), format!("{i}b")]).collect();
    let others = join_all(callers.iter().map(|[a, b]| async { append(&lane, &[a, b]).await }));
    let mut others = pin!(others);
    assert!(poll!(&mut others).is_pending());
    double.answers.add_permits(2);
    assert_eq!(numbers(&first.await), [1]);
    for (i, answers) in others.await.iter().enumerate() {
        let n = 2 + 2 * i as u64;
        assert_eq!(numbers(answers), [n, n + 1], "each has its own answers");
    }
    assert_eq!(double.runs()[1..], [callers.concat()]);
}

#[tokio::test]
async fn a_batch_that_breaks_has_an_unknown_fate_and_the_next_batch_is_stored() {
    let double = Double::new(0);
    let lane = lane(&double).await;
    let mut first = pin!(append(&lane, &["first"]));
    assert!(poll!(&mut first).is_pending());
    double.has_runs(1).await;
    // The second batch is cut off after its first run. The fate of its other runs is unknown.
    double.hang_up_at.store(3, Ordering::Relaxed);
    let long = vec!["x"; 130];
    let mut broken = pin!(async { tokio::join!(append(&lane, &["a", "b"]), append(&lane, &long)) });
    assert!(poll!(&mut broken).is_pending());
    double.answers.add_permits(1000);
    first.await;
    let (answered, rest) = broken.await;
    assert_eq!(numbers(&answered), [2, 3], "answered appends count");
    let (known, unknown) = rest.split_at(62);
    assert!(known.iter().all(Result::is_ok));
    assert_eq!(meanings(&unknown.to_vec()), vec![Meaning::Unsure; 68]);
    assert!(append(&lane, &["next"]).await[0].is_ok(), "over a new connection");
}

#[tokio::test]
async fn a_dropped_caller_takes_only_its_own_appends_with_it() {
    let double = Double::new(0);
    let lane = lane(&double).await;
    let mut on_its_way = Box::pin(append(&lane, &["on its way"]));
    assert!(poll!(&mut on_its_way).is_pending());
    double.has_runs(1).await;
    let mut waits = Box::pin(append(&lane, &["waits"]));
    let mut stays = pin!(append(&lane, &["stays"]));
    assert!(poll!(&mut waits).is_pending() && poll!(&mut stays).is_pending());
    drop((on_its_way, waits));
    double.answers.add_permits(2);
    assert_eq!(numbers(&stays.await), [2]);
    assert_eq!(double.runs(), [["on its way"], ["stays"]]);
}

#[tokio::test]
async fn the_first_caller_is_sent_first_however_much_others_bring() {
    let double = Double::new(0);
    let lane = lane(&double).await;
    let long = vec!["long"; BATCH_MAX];
    let mut long_ones: Vec<_> = (0..4).map(|_| Box::pin(append(&lane, &long))).collect();
    for one in &mut long_ones[..2] {
        assert!(poll!(one).is_pending());
    }
    let mut short = pin!(append(&lane, &["short"]));
    assert!(poll!(&mut short).is_pending());
    for one in &mut long_ones[2..] {
        assert!(poll!(one).is_pending());
    }
    double.answers.add_permits(1000);
    assert_eq!(numbers(&short.await), [2 * BATCH_MAX as u64 + 1]);
    join_all(long_ones).await;
}

#[tokio::test]
async fn a_full_queue_refuses_an_append() {
    let double = Double::new(0);
    let lane = lane(&double).await;
    let mut waiting: Vec<_> = (0..=QUEUE_MAX).map(|_| Box::pin(append(&lane, &["x"]))).collect();
    assert!(poll!(&mut waiting[0]).is_pending());
    double.has_runs(1).await;
    for one in &mut waiting[1..] {
        assert!(poll!(one).is_pending());
    }
    let refused = append(&lane, &["one too many"]).await;
    assert!(matches!(refused[..], [Err(Failure::Crowded(_))]), "{refused:?}");
    assert_eq!(meanings(&refused), [Meaning::Final]);
    double.answers.add_permits(usize::MAX >> 4);
    let answers = join_all(waiting).await;
    assert!(answers.iter().flatten().all(Result::is_ok), "the other callers get their answers");
    assert!(!double.runs().concat().contains(&"one too many".to_owned()));
}

#[tokio::test]
async fn a_closed_lane_sends_no_further_batch() {
    let double = Double::new(0);
    let lane = lane(&double).await;
    let mut on_its_way = pin!(append(&lane, &["on its way"]));
    assert!(poll!(&mut on_its_way).is_pending());
    double.has_runs(1).await;
    let mut waits = pin!(append(&lane, &["waits"]));
    assert!(poll!(&mut waits).is_pending());
    lane.close();
    double.answers.add_permits(2);
    assert_eq!(numbers(&on_its_way.await), [1], "the batch that was sent is answered");
    assert_eq!(
        meanings(&waits.await),
        [Meaning::Elsewhere],
        "the next append may go to another primary"
    );
    assert_eq!(meanings(&append(&lane, &["late"]).await), [Meaning::Elsewhere]);
    assert_eq!(double.runs(), [["on its way"]]);
}

#[tokio::test]
async fn a_server_without_sharded_channels_gets_no_event() {
    let double = Double::of_version("6.2.14", 1);
    let answers = append(&lane(&double).await, &["a"]).await;
    let [Err(failure)] = &answers[..] else { panic!("{answers:?}") };
    assert!(failure.to_string().contains("version 6.2.14"), "{failure}");
    assert_eq!(failure.meaning(&Address::new("x", 1)), Meaning::Final);
    assert_eq!(double.runs().len(), 0);
}
