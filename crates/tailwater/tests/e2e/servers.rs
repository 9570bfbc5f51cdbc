//! Every server of the Redis family that `scripts/setup-servers` installs, with every eviction policy: what
//! `check`, a gateway and ingest say of it. `make servers` prints the table.

use std::path::{Path, PathBuf};

use loadtest::client::http;
use loadtest::client::sse::Connection;
use loadtest::machine::Redis;

use crate::cli::tailwater;
use crate::support::{gateway, ingest, metric, publish, status, until};

/// Policies by which a server deletes keys that have not ended.
const EVICTING: [&str; 7] = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];
const SERVERS: usize = 7;

fn servers() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers");
    let entries = std::fs::read_dir(&folder).expect("scripts/setup-servers was run");
    let mut servers: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    servers.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    servers.sort();
    assert_eq!(servers.len(), SERVERS, "{servers:?}");
    servers
}

/// A server with a policy, as a user sees it.
struct Seen {
    check: String,
    gateway: &'static str,
    ingest: &'static str,
    publish: u16,
    stored: String,
    evicts: bool,
}

async fn look(redis: &Redis) -> Seen {
    let check = tailwater(&["check", "--redis", &redis.url()]).await;
    let last = if check.code == Some(0) { &check.stdout } else { &check.stderr };
    let check = last.trim().lines().last().unwrap_or_default();
    let check = check.trim_start_matches("result").trim().replace(&redis.url(), "URL");
    let gateway = gateway(redis, "gateway").spawn().unwrap();
    let ingest = ingest(redis).spawn().unwrap();
    until("the nodes answer", async || {
        let of = |node: &loadtest::machine::Tailwater| status(node.admin_addr(), "/readyz");
        of(&gateway).await.is_some() && of(&ingest).await.is_some()
    })
    .await;
    let is_old = check.contains("has version");
    if !is_old {
        until("both are ready", async || gateway.is_ready().await && ingest.is_ready().await).await;
    }
    let ready = async |node: &loadtest::machine::Tailwater| {
        if node.is_ready().await { "ready" } else { "not ready" }
    };
    let mut client = http::Client::new(ingest.addr());
    let key = [("idempotency-key", "once")];
    let mut published = Vec::new();
    for _ in 0..2 {
        let answer = client.post("/v1/events?topic=t", &key, "x".to_owned()).await.unwrap();
        published.push(answer.status);
    }
    assert_eq!(published[0], published[1], "the retry hears the same");
    if !is_old {
        let path = "/v1/events?topic=t&from=earliest&control=off";
        let mut stream = Connection::open(gateway.addr(), path, &[]).await.unwrap();
        assert_eq!(stream.next_event().await.unwrap().data, "x");
        publish(ingest.addr(), "t", "y").await;
        assert_eq!(stream.next_event().await.unwrap().data, "y");
    }
    let keys = redis.query(&["KEYS", "e:*:t"]).await.unwrap();
    let stored = match keys.first().filter(|key| !key.is_empty()) {
        Some(key) => redis.query(&["XLEN", key]).await.unwrap().concat(),
        None => "0".to_owned(),
    };
    let metrics = gateway.metrics().await.unwrap();
    Seen {
        check,
        gateway: ready(&gateway).await,
        ingest: ready(&ingest).await,
        publish: published[0],
        stored,
        evicts: metric(&metrics, "tailwater_log_evicts") == Some(1.0),
    }
}

#[tokio::test]
#[ignore = "needs seven servers: make servers"]
async fn each_server_is_used_or_refused_and_each_policy_is_told_of() {
    println!("| server | maxmemory-policy | `tailwater check` | gateway | ingest | publish |");
    println!("|---|---|---|---|---|---|");
    for program in servers() {
        let name = program.file_name().unwrap().to_string_lossy().into_owned();
        for policy in ["noeviction"].iter().chain(&EVICTING) {
            let redis = Redis::builder()
                .program(&program)
                .arg("--maxmemory")
                .arg("100mb")
                .arg("--maxmemory-policy")
                .arg(*policy)
                .start()
                .await
                .unwrap();
            let seen = look(&redis).await;
            let Seen { check, gateway, ingest, publish, .. } = &seen;
            println!("| {name} | {policy} | {check} | {gateway} | {ingest} | {publish} |");
            if name == "redis-6.2" {
                assert!(check.contains("has version 6.2.14"), "{check}");
                assert_eq!((*gateway, *ingest, *publish), ("not ready", "not ready", 503));
                assert_eq!(seen.stored, "0", "nothing is stored that no subscriber can get");
                continue;
            }
            assert_eq!((*gateway, *ingest, *publish), ("ready", "ready", 200));
            assert_eq!(seen.stored, "2");
            let is_safe = *policy == "noeviction";
            assert_eq!(check == "ok", is_safe, "{check}");
            assert!(is_safe || check.contains(policy), "{check}");
            assert_eq!(seen.evicts, !is_safe, "{name} {policy}");
        }
    }
}
