//! The bytes that Redis sends for what readers get, counted by the server.

use event_log::{Limit, Log, Origin, Position, Seek, Topic};
use redis_log::RedisLog;

use crate::server::Server;
use crate::support::{append, config, fill, open, topic};

/// The page of an event stream.
const LIMIT: Limit = Limit::PAGE;
/// Bytes that Redis may send for one byte of what a reader gets.
const RATIO_MAX: f64 = 2.0;
/// Bytes that Redis may send for the search of a position.
const SEARCH_MAX: u64 = 4096;

/// All bytes that a server has sent. The question itself counts, with less than `QUESTION` bytes.
async fn sent(server: &Server) -> u64 {
    let info: String = server.words("INFO stats").await;
    let sent = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    sent.unwrap().trim().parse().unwrap()
}

/// Most bytes of an answer to INFO and of the handshake before it.
const QUESTION: u64 = 8192;

/// Replays a topic as a gateway does. Returns the bytes of its events.
async fn replay(log: &RedisLog, t: &Topic) -> u64 {
    let head = log.tail(t).await.unwrap().head();
    let (mut after, mut bytes) = (Position::START, 0);
    while after != head {
        let page = log.read(t, after, LIMIT).await.unwrap();
        assert!(page.gap.is_none());
        bytes += page.events.iter().map(|event| event.data().len() as u64).sum::<u64>();
        after = page.events.last().unwrap().position();
    }
    bytes
}

async fn amplification(name: &str, parts: &[(usize, usize)]) {
    let server = Server::start().await;
    let t = topic("t");
    let writer = open(config(&server)).await;
    for (count, size) in parts {
        let data = "x".repeat(*size);
        for _ in 0..*count {
            append(&writer, &t, &data).await;
        }
    }
    drop(writer);
    let log = open(config(&server)).await;
    let before = sent(&server).await;
    let got = replay(&log, &t).await;
    let sent = sent(&server).await - before - QUESTION;
    let ratio = sent as f64 / got as f64;
    eprintln!("{name}: redis sent {sent} bytes for {got}: {ratio:.3}");
    assert!(ratio <= RATIO_MAX, "{name}: {sent} bytes for {got}");
}

#[tokio::test]
async fn large_events_before_small_ones_cost_about_their_bytes() {
    amplification("200 of 16 KiB, 200 small", &[(200, 16 * 1024), (200, 100)]).await;
}

#[tokio::test]
async fn the_largest_events_before_small_ones_cost_about_their_bytes() {
    amplification("130 of 256 KiB, 130 small", &[(130, 256 * 1024), (130, 10)]).await;
}

#[tokio::test]
async fn events_of_one_size_cost_about_their_bytes() {
    amplification("400 of 16 KiB", &[(400, 16 * 1024)]).await;
    amplification("60 of 256 KiB", &[(60, 256 * 1024)]).await;
    amplification("1000 of 1 KiB", &[(1000, 1024)]).await;
}

#[tokio::test]
async fn small_and_large_events_in_turn_cost_about_their_bytes() {
    let turns = [(130, 100), (20, 256 * 1024)].repeat(4);
    amplification("130 small, 20 of 256 KiB, four times", &turns).await;
}

#[tokio::test]
async fn the_search_of_a_position_reads_no_data() {
    let server = Server::start().await;
    let (log, t) = (open(config(&server)).await, topic("t"));
    let large = "x".repeat(64 * 1024);
    for n in 1..=300 {
        append(&log, &t, if n % 3 == 0 { &large } else { "small" }).await;
    }
    // The scripts are loaded by the first search.
    log.seek(&t, Seek::Earliest).await.unwrap();
    let empty = {
        let before = sent(&server).await;
        sent(&server).await - before
    };
    for count in [0, 1, 2, 100, 299, 300, 301, 100_000, u64::MAX] {
        let before = sent(&server).await;
        let sought = log.seek(&t, Seek::Last(count)).await.unwrap();
        let cost = sent(&server).await - before - empty;
        assert_eq!(sought.position.n, 300_u64.saturating_sub(count), "{count}");
        assert!(cost <= SEARCH_MAX, "from=-{count}: {cost} bytes");
    }
    for seek in [Seek::Earliest, Seek::Since(0), Seek::Since(u64::MAX)] {
        let before = sent(&server).await;
        log.seek(&t, seek).await.unwrap();
        log.bounds(&t).await.unwrap();
        assert!(sent(&server).await - before - empty <= SEARCH_MAX, "{seek:?}");
    }
}

#[tokio::test]
async fn the_position_of_a_number_is_found_among_uneven_times_and_in_one_millisecond() {
    let server = Server::start().await;
    let (log, t) = (open(config(&server)).await, topic("t"));
    fill(&log, &t, 1..=50).await;
    for n in 51..=60 {
        append(&log, &t, &n.to_string()).await;
        tokio::time::sleep(std::time::Duration::from_millis(n - 50)).await;
    }
    fill(&log, &t, 61..=110).await;
    let positions = {
        let limit = Limit { events: 128, bytes: usize::MAX };
        let mut positions = vec![Position::START];
        while positions.len() <= 110 {
            let page = log.read(&t, *positions.last().unwrap(), limit).await.unwrap();
            positions.extend(page.events.iter().map(event_log::Event::position));
        }
        positions
    };
    for n in 0..110 {
        let sought = log.seek(&t, Seek::Last(110 - n)).await.unwrap();
        let first = positions[usize::try_from(n).unwrap() + 1];
        assert_eq!(sought.position, first.before(), "{n}");
    }
    // A hole in the middle: the number after it is found for a number in it.
    let key = crate::gaps::key(&server, 'e').await;
    for lost in &positions[40..45] {
        server.words::<()>(&format!("XDEL {key} {lost}")).await;
    }
    let sought = log.seek(&t, Seek::Last(110 - 41)).await.unwrap();
    assert_eq!(sought.position, positions[45].before());
    let mut reader =
        crate::support::Reader::open(&log, &t, Origin::Seek(Seek::Last(110 - 41))).await;
    assert_eq!(reader.events().await[0].position().n, 45);
}
