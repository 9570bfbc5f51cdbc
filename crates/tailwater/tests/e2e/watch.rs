//! Tests of `loadtest watch`: it passes a cluster that loses nothing in spite of a killed gateway, and
//! fails when a client hides or doubles events.

use std::fs;
use std::time::Duration;

use clap::Parser;
use loadtest::machine::Redis;
use loadtest::report::Report;
use loadtest::scenario::watch;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::{gateway, ingest};

#[derive(Parser)]
struct Watch {
    #[command(flatten)]
    options: watch::Options,
}

/// The target to which `watch` publishes.
#[derive(Clone, Copy)]
enum By {
    Ingest,
    Redis,
}

/// Watches for some seconds, during which the only gateway is killed and restarted.
async fn while_a_gateway_dies(by: By, sabotage: &str) -> Report {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let mut gateway = gateway(&redis, "gw-1").start().await.unwrap();
    let dir = TempDir::new().unwrap();
    let file = |name| dir.path().join(name).display().to_string();
    let publishes = match by {
        By::Ingest => ("--ingest-url", format!("http://{}", ingest.addr())),
        By::Redis => ("--redis", redis.url()),
    };
    let flags = [
        ("--url", format!("http://{}", gateway.addr())),
        publishes,
        ("--clients", "40".to_owned()),
        ("--topics", "4".to_owned()),
        ("--rate", "80".to_owned()),
        ("--for", "4s".to_owned()),
        ("--marks", file("marks")),
        ("--out", file("out")),
        ("--sabotage", sabotage.to_owned()),
    ];
    let flags = flags.iter().flat_map(|(flag, value)| [*flag, value.as_str()]);
    let watch = Watch::parse_from(["watch"].into_iter().chain(flags));
    let dying = async {
        sleep(Duration::from_secs(2)).await;
        fs::write(file("marks"), "kill -9 gw-1\n").unwrap();
        gateway.kill_nine().unwrap();
        gateway.restart().await.unwrap();
    };
    let (report, ()) = tokio::join!(Box::pin(watch::run(&watch.options)), dying);
    let report = report.unwrap();
    assert_eq!(report.marks.len(), 1, "{:?}", report.marks);
    assert_eq!(report.marks[0].label, "kill -9 gw-1");
    report
}

#[tokio::test]
async fn watch_passes_a_cluster_whose_clients_reconnect() {
    for by in [By::Ingest, By::Redis] {
        let report = while_a_gateway_dies(by, "none").await;
        assert_eq!(report.failures, Vec::<String>::new());
        assert_eq!(report.raw["verdict"]["delivered"], report.raw["verdict"]["expected"]);
        assert_eq!(report.raw["time_without_connection"]["count"], 40);
    }
}

#[tokio::test]
async fn watch_fails_on_lost_and_on_duplicated_events() {
    let report = while_a_gateway_dies(By::Ingest, "no-resume").await;
    assert!(report.failures[0].ends_with("deliveries lost"), "{:?}", report.failures);
    let report = while_a_gateway_dies(By::Ingest, "replay").await;
    assert!(report.failures[0].ends_with("deliveries duplicated"), "{:?}", report.failures);
}
