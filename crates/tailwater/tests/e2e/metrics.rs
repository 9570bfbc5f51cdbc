//! The scraped metrics agree with the documented ones.

use std::collections::BTreeSet;

use loadtest::machine::{Redis, Tailwater};

use crate::support::{TAILWATER, metric, serve};
use crate::tls::Issued;

const DOCS: &str = include_str!("../../../../docs/metrics.md");

#[tokio::test]
async fn every_family_is_documented_and_every_documented_family_is_there() {
    let redis = Redis::start().await.unwrap();
    // A key server that is away is no reason not to start.
    let closed = serve()
        .redis(&redis)
        .flag("--auth-jwks", "http://127.0.0.1:1/keys")
        .flag("--auth-issuer", "https://issuer.example")
        .flag("--auth-audience", "tailwater")
        .flag("--otlp-endpoint", "http://127.0.0.1:1")
        .flag("--presence", "room/*");
    let node = Issued::new().encrypt(closed).start().await.unwrap();
    let text = node.metrics().await.unwrap();
    let relay = Tailwater::relay(TAILWATER, "http://127.0.0.1:1")
        .flag("--source", "http://127.0.0.1:1")
        .flag("--source-topic", "copied");
    let relay = relay.start().await.unwrap();
    let of_relay = relay.metrics().await.unwrap();
    let exposed: BTreeSet<_> = text
        .lines()
        .chain(of_relay.lines())
        .filter_map(|line| line.strip_prefix("# TYPE tailwater_")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    // The rows of the tables of families: | `name` | kind | …
    let documented: BTreeSet<_> = DOCS
        .lines()
        .filter_map(|row| {
            let mut cells = row.strip_prefix("| ")?.split(" | ");
            let names = cells.next()?;
            let kind =
                cells.next().filter(|kind| ["gauge", "counter", "histogram"].contains(kind))?;
            Some((names, kind))
        })
        .flat_map(|(names, kind)| {
            let names = names.split(", ").map(|name| name.trim_matches('`').to_owned());
            names.map(move |name| (name, kind.to_owned()))
        })
        .collect();
    let differences: Vec<_> = exposed.symmetric_difference(&documented).collect();
    assert!(differences.is_empty(), "{differences:?}");

    for process in ["resident_memory_bytes", "open_fds", "max_fds", "cpu_seconds_total"] {
        assert!(metric(&text, &format!("process_{process}")).unwrap() >= 0.0, "{process}");
    }
}

#[tokio::test]
async fn limits_are_metrics_so_that_alerts_can_use_them() {
    let node = serve()
        .flag("--max-connections", "77")
        .flag("--history-age", "2h")
        .flag("--history-events", "500");
    let node = node.start().await.unwrap();
    let text = node.metrics().await.unwrap();
    let limits =
        [("connections_max", 77.0), ("history_age_seconds", 7200.0), ("history_events", 500.0)];
    for (name, value) in limits {
        assert_eq!(metric(&text, &format!("tailwater_{name}")), Some(value), "{name}");
    }
    let version = env!("CARGO_PKG_VERSION");
    // The tests are built without a revision, unless whoever builds them names one.
    let revision = option_env!("TAILWATER_REVISION").unwrap_or("unknown");
    let info = format!("tailwater_build_info{{revision=\"{revision}\",version=\"{version}\"}}");
    assert_eq!(metric(&text, &info), Some(1.0));
}
