//! Nodes with short time-outs, publishing, and waiting for conditions.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::client::http;
use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// The program under test.
pub(crate) const TAILWATER: &str = env!("CARGO_BIN_EXE_tailwater");

/// Longest wait for any condition. Far longer than needed; no test measures a duration with it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a `tailwater serve` that uses the embedded log by default.
pub(crate) fn serve() -> TailwaterBuilder {
    quick(Tailwater::serve(TAILWATER))
}

/// Returns a `tailwater serve` whose drain takes hours.
pub(crate) fn patient_serve() -> TailwaterBuilder {
    let hour = |builder: TailwaterBuilder, flag| builder.flag(flag, "1h");
    ["--drain-window", "--shutdown-grace"].into_iter().fold(Tailwater::serve(TAILWATER), hour)
}

/// Returns a `tailwater gateway`.
pub(crate) fn gateway(redis: &Redis, node: &str) -> TailwaterBuilder {
    quick(Tailwater::gateway(TAILWATER)).redis(redis).node(node)
}

/// Returns a `tailwater ingest`.
pub(crate) fn ingest(redis: &Redis) -> TailwaterBuilder {
    Tailwater::ingest(TAILWATER).redis(redis).flag("--drain-delay", "500ms")
}

fn quick(builder: TailwaterBuilder) -> TailwaterBuilder {
    builder.flag("--retry", "500ms").flag("--drain-delay", "500ms").flag("--drain-window", "2s")
}

/// Waits until the condition holds, and panics with `what` if it does not in time.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not after {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes one event and returns its id.
pub(crate) async fn publish(to: SocketAddr, topic: &str, data: &str) -> String {
    let path = format!("/v1/events?topic={topic}");
    let response = http::Client::new(to).post(&path, &[], data.to_owned()).await.unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let receipt: Value = response.json().unwrap();
    receipt["id"].as_str().expect("a receipt has an id").to_owned()
}

/// Publishes numbers in batches of NDJSON. The data is a number padded to `bytes`. Returns the ids.
pub(crate) async fn publish_numbers(
    to: SocketAddr,
    topic: &str,
    numbers: std::ops::RangeInclusive<u32>,
    bytes: usize,
) -> Vec<String> {
    let mut http = http::Client::new(to).timeout(PATIENCE);
    let path = format!("/v1/events?topic={topic}");
    let numbers: Vec<_> = numbers.collect();
    let mut ids = Vec::with_capacity(numbers.len());
    for batch in numbers.chunks(1000) {
        let lines: String =
            batch.iter().map(|n| format!("{{\"data\":\"{n:<bytes$}\"}}\n")).collect();
        let ndjson = [("content-type", "application/x-ndjson")];
        let response = http.post(&path, &ndjson, lines).await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        for line in response.text().lines() {
            let receipt: Value = serde_json::from_str(line).unwrap();
            ids.push(receipt["id"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned());
        }
    }
    assert_eq!(ids.len(), numbers.len(), "a receipt for each event");
    ids
}

/// Returns the number that an event's id contains.
pub(crate) fn number(id: &str) -> u64 {
    id.parse::<loadtest::client::position::Position>().unwrap().n
}

/// Returns the status of a GET, or `None` if the node does not answer.
pub(crate) async fn status(of: SocketAddr, path: &str) -> Option<u16> {
    let mut http = http::Client::new(of).timeout(Duration::from_secs(5));
    http.get(path).await.ok().map(|response| response.status)
}

/// Returns the value of a metric. `name` includes the labels, as in the exposition.
pub(crate) fn metric(exposition: &str, name: &str) -> Option<f64> {
    exposition.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        if series == name { value.parse().ok() } else { None }
    })
}
