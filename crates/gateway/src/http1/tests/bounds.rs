//! Bounds on a stream that waits for its client.

use limits::{AddressShare, Proxies, Rules};

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A stream whose client takes nothing, as soon as bytes wait for it.
async fn stuck(config: Config) -> (Opened, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::new(Retention::default()));
    let mut opened = open_as(config, Arc::clone(&log) as _, (PIPE_BYTES, 1)).await;
    read_until(&mut opened.client, "tailwater.ready").await;
    publish(&log, &"x".repeat(20 * PIPE_BYTES), Mark::Open).await;
    sleep(Duration::from_millis(1)).await;
    (opened, log)
}

impl Opened {
    fn closed(&self, reason: &str) -> bool {
        let line = format!("tailwater_connections_closed_total{{reason=\"{reason}\"}} 1\n");
        self.registry.expose().contains(&line)
    }

    /// Bytes of the memory budget that are in use.
    fn used(&self) -> u64 {
        self.gateway.0.config.rules.memory.used()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_ends_at_its_age() {
    let config = Config { max_age: seconds(100), ..Config::default() };
    let (mut opened, _log) = stuck(config).await;
    let start = Instant::now();
    (&mut opened.writing).await.unwrap();
    let (age, least) = (start.elapsed(), seconds(79));
    assert!((least..=seconds(121) + crate::drain::OVERDUE_AFTER).contains(&age), "{age:?}");
    assert!(opened.closed("max_age"), "{}", opened.registry.expose());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_ends_within_the_window_of_a_drain() {
    let (opened, _log) = stuck(Config::default()).await;
    let start = Instant::now();
    assert_eq!(opened.gateway.drain(seconds(1), seconds(10), seconds(60)).await, 0);
    assert!(start.elapsed() <= seconds(11), "{:?}", start.elapsed());
    assert!(opened.closed("drain"), "{}", opened.registry.expose());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_its_last_event() {
    const PAUSE: Duration = Duration::from_millis(250);
    let log = Arc::new(MemoryLog::new(Retention::default()));
    let config = Config { max_age: seconds(100), ..Config::default() };
    let mut opened = open_as(config, Arc::clone(&log) as _, (PIPE_BYTES, 1)).await;
    let publishing = tokio::spawn(async move {
        loop {
            publish(&log, &"x".repeat(2 * PIPE_BYTES), Mark::Open).await;
            sleep(seconds(4)).await;
        }
    });
    let mut read = Vec::new();
    while opened.client.read_buf(&mut read).await.unwrap() > 0 {
        sleep(PAUSE).await;
    }
    publishing.abort();
    let text = String::from_utf8(read).unwrap();
    assert!(text.contains("{\"reason\":\"max_age\"}") && text.ends_with("0\r\n\r\n"), "{text}");
}

fn budget(bytes: u64) -> Config {
    let rules = Rules::new(Proxies::none(), AddressShare::ALL, bytes, &Registry::new());
    Config { rules, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_wait_are_counted_until_they_are_sent() {
    let (mut opened, _log) = stuck(budget(1 << 20)).await;
    assert!(opened.used() > 20 * PIPE_BYTES as u64, "{}", opened.used());
    read_until(&mut opened.client, &"x".repeat(20 * PIPE_BYTES)).await;
    read_until(&mut opened.client, "id: ").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(opened.used(), 0);
    drop(opened.client);
    opened.writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_bytes_do_not_fit_the_budget_ends_at_once() {
    let (mut opened, _log) = stuck(budget(4000)).await;
    let start = Instant::now();
    (&mut opened.writing).await.unwrap();
    assert!(start.elapsed() < seconds(1), "{:?}", start.elapsed());
    assert!(opened.closed("memory"), "{}", opened.registry.expose());
    assert_eq!(opened.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_is_noticed_at_a_heartbeat_or_soon_after() {
    for heartbeat in [15, 60] {
        let log = Arc::new(MemoryLog::new(Retention::default()));
        let config = Config { heartbeat: seconds(heartbeat), ..Config::default() };
        let mut opened = open_as(config, log, (PIPE_BYTES, 100)).await;
        read_until(&mut opened.client, "2\r\n:\n\r\n").await;
        opened.vanished.store(true, Relaxed);
        let start = Instant::now();
        (&mut opened.writing).await.unwrap();
        assert!(start.elapsed() <= seconds(16), "{heartbeat}: {:?}", start.elapsed());
        assert!(opened.closed("vanished"), "{}", opened.registry.expose());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_under_a_write_is_noticed() {
    let (mut opened, _log) = stuck(Config::default()).await;
    sleep(seconds(100)).await;
    assert!(!opened.writing.is_finished(), "a client that stalls on purpose stays");
    opened.vanished.store(true, Relaxed);
    let start = Instant::now();
    (&mut opened.writing).await.unwrap();
    assert!(start.elapsed() <= seconds(16), "{:?}", start.elapsed());
    assert!(opened.closed("vanished"), "{}", opened.registry.expose());
}
