//! The driver against servers that lie: every lie has to show in the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadtest::client::load::{Load, Published};
use loadtest::client::payload::Payload;
use loadtest::client::position::Position;
use loadtest::client::publisher::Receipt;
use loadtest::proof::audience::{Audience, Sabotage};
use loadtest::random::Random;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// A gateway that sends a ready event and then these events of topic `t`, to every client, for
/// any cursor.
async fn lying_gateway(numbers: &'static [u32]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            tokio::spawn(lie(stream, numbers));
        }
    });
    addr
}

async fn lie(mut stream: TcpStream, numbers: &[u32]) {
    let mut request = [0; 4096];
    let length = stream.read(&mut request).await.expect("a request");
    assert!(length > 0, "the client hung up");
    let mut answer = String::from(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\
         event: tailwater.ready\n\
         data: {\"outcome\":\"live\",\"cursor\":\"0-0\",\"node\":\"liar\"}\nid: 0-0\n\n",
    );
    for &seq in numbers {
        let data = payload(seq);
        write!(answer, "data: {data}\nid: {}-{seq}\n\n", 1000 + seq).expect("a String");
    }
    stream.write_all(answer.as_bytes()).await.expect("written");
    sleep(Duration::from_secs(60)).await;
}

fn payload(seq: u32) -> String {
    let payload = Payload { seq, sent: Duration::ZERO, topic: "t" };
    payload.encode(120)
}

/// Lets two clients listen to these events, five of which were acknowledged, and returns the
/// failures.
async fn failures_of(numbers: &'static [u32]) -> Vec<String> {
    let addr = lying_gateway(numbers).await;
    let topics: Arc<[String]> = Arc::from(["t".to_owned()]);
    let mut audience = Audience::new(addr, topics, Sabotage::None, Instant::now());
    let enter = audience.bookkeeper();
    for seq in 1..=5 {
        let receipt = Receipt {
            topic: "t".to_owned(),
            at: Position { ms: 1000 + u64::from(seq), n: seq.into() },
            duplicate: false,
            attempts: 1,
        };
        enter(Published { topic: 0, seq, outcome: Ok(receipt) });
    }
    audience.admit(2, Duration::ZERO, &mut Random::new(1)).await;
    let last = numbers.iter().copied().max().expect("an event");
    let until = Instant::now() + Duration::from_secs(5);
    while audience.ledger().latency.quantiles().count < 2 * numbers.len() as u64 {
        assert!(Instant::now() < until, "the events up to {last} did not come");
        sleep(Duration::from_millis(5)).await;
    }
    audience.dismiss().await.checker.verdict().failures()
}

#[tokio::test]
async fn honest_gateway_passes() {
    assert_eq!(failures_of(&[1, 2, 3, 4, 5]).await, Vec::<String>::new());
}

#[tokio::test]
async fn gateway_that_skips_an_event_is_caught() {
    assert_eq!(failures_of(&[1, 2, 4, 5]).await, ["2 deliveries lost"]);
}

#[tokio::test]
async fn gateway_that_repeats_an_event_is_caught() {
    let failures = failures_of(&[1, 2, 2, 3, 4, 5]).await;
    assert_eq!(failures, ["2 deliveries duplicated"]);
}

#[tokio::test]
async fn gateway_that_swaps_events_is_caught() {
    let failures = failures_of(&[1, 3, 2, 4, 5]).await;
    assert_eq!(failures, ["2 deliveries out of order"]);
}

#[tokio::test]
async fn gateway_that_forgets_the_last_event_is_caught() {
    assert_eq!(failures_of(&[1, 2, 3, 4]).await, ["2 clients unfinished"]);
}

/// An ingest that refuses every seventh request with 503 and else numbers the events of each
/// topic. Keys that it has seen get their first number again.
async fn moody_ingest() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let book = Arc::new(Mutex::new(Book::default()));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a publisher");
            let book = Arc::clone(&book);
            tokio::spawn(async move { serve_publisher(stream, &book).await });
        }
    });
    addr
}

/// The events of each topic, as `(seq, n)`.
type Seen = BTreeMap<usize, Vec<(u32, u64)>>;

#[derive(Default)]
struct Book {
    requests: u64,
    heads: BTreeMap<String, u64>,
}

impl Book {
    fn answer(&mut self, topic: &str) -> (&'static str, String) {
        self.requests += 1;
        if self.requests.is_multiple_of(7) {
            return ("503 Service Unavailable", "{}".to_owned());
        }
        let head = self.heads.entry(topic.to_owned()).or_default();
        *head += 1;
        let receipt = format!("{{\"topic\":\"{topic}\",\"id\":\"5-{head}\",\"duplicate\":false}}");
        ("200 OK", receipt)
    }
}

/// Ends with an error when the publisher hangs up.
async fn serve_publisher(stream: TcpStream, book: &Mutex<Book>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let topic = path.rsplit('=').next().unwrap_or_default();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some(("content-length", text)) => length = text.parse().unwrap_or(0),
                Some(_) => {}
                None => break,
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        let (status, body) = book.lock().expect("whole").answer(topic);
        let size = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {size}\r\n\r\n{body}");
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

#[tokio::test]
async fn load_acknowledges_every_event_once_and_keeps_the_order_of_each_topic() {
    let load = Load {
        target: moody_ingest().await.into(),
        topics: (0..40).map(|n| format!("t-{n}")).collect(),
        rate: 400,
        duration: Duration::from_secs(1),
        event_bytes: 200,
        deadline: Duration::from_secs(5),
        run: "test".to_owned(),
        stop: tokio_util::sync::CancellationToken::new(),
    };
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let book = Arc::clone(&seen);
    let done = move |published: Published| {
        let receipt = published.outcome.expect("acknowledged");
        let mut seen = book.lock().expect("whole");
        let topic = seen.entry(published.topic).or_default();
        topic.push((published.seq, receipt.at.n));
    };
    load.run(Instant::now(), done).await;
    let seen = seen.lock().expect("whole");
    assert_eq!(seen.len(), 40);
    let expected: Vec<(u32, u64)> = (1..=10).map(|seq| (seq, seq.into())).collect();
    for (topic, events) in seen.iter() {
        assert_eq!(*events, expected, "topic {topic}");
    }
}
