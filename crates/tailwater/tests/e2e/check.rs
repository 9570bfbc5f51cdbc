//! `tailwater check` and invalid configurations.

use loadtest::machine::{Port, Redis};
use tokio::process::Command;

use crate::cli::{Cli, Outcome, tailwater};
use crate::relay::upstream::Upstream;
use crate::support::{TAILWATER, serve, until};

async fn check(args: &[&str]) -> Outcome {
    tailwater(&[&["check"], args].concat()).await
}

/// Returns whether the report ends in a good result.
fn is_ok(outcome: &Outcome) -> bool {
    outcome.stdout.lines().last().is_some_and(|line| line == "result       ok")
}

#[tokio::test]
async fn a_good_configuration_is_ok() {
    let outcome = check(&["--node", "here"]).await.success();
    assert!(outcome.stdout.contains("embedded") && is_ok(&outcome), "{outcome:?}");
    let redis = Redis::start().await.unwrap();
    let outcome = check(&["--redis", &redis.url(), "--history-events", "5"]).await.success();
    assert!(outcome.stdout.contains(&redis.url()), "{outcome:?}");
    assert!(outcome.stdout.contains("5 events"), "{outcome:?}");
}

#[tokio::test]
async fn a_redis_that_is_unreachable_is_named_without_its_password() {
    let port = Port::reserve().unwrap();
    let url = format!("redis://someone:s3cret@{}", port.addr());
    let outcome = check(&["--redis", &url]).await;
    let outcome = outcome.failure(&[&port.addr().to_string(), "refused"]);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!said.contains("s3cret") && !is_ok(&outcome), "{said}");
}

#[tokio::test]
async fn a_redis_that_refuses_the_password_is_named() {
    let redis = Redis::start().await.unwrap();
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "s3cret"]).await.unwrap(), "+OK");
    let with = |password: &str| format!("redis://:{password}@{}", redis.addr());
    check(&["--redis", &with("s3cret")]).await.success();
    let outcome = check(&["--redis", &with("wrong-0ne")]).await.failure(&[]);
    assert!(!format!("{outcome:?}").contains("wrong-0ne"), "{outcome:?}");
    check(&["--redis", &redis.url()]).await.failure(&["NOAUTH"]);
}

#[tokio::test]
async fn check_asks_a_running_node() {
    let node = serve().start().await.unwrap();
    let url = format!("http://{}", node.admin_addr());
    let outcome = check(&["--url", &url]).await.success();
    assert!(outcome.stdout.contains("ready"), "{outcome:?}");
    node.begin_termination().unwrap();
    drop(node);
    check(&["--url", &url]).await.failure(&[&url, "refused"]);
}

#[tokio::test]
async fn the_flags_of_a_relay_are_checked_and_its_upstream_is_asked() {
    let upstream = Upstream::start().await;
    let outcome = check(&["relay", "--upstream", &upstream.url("")]).await.success();
    assert!(outcome.stdout.contains("reachable, answers 404"), "{outcome:?}");
    assert!(outcome.stdout.contains("\nanswers ") && is_ok(&outcome), "{outcome:?}");
    let gone = upstream.url("/base");
    drop(upstream);
    let outcome = check(&["relay", "--upstream", &gone]).await.failure(&[&gone, "refused"]);
    assert!(!is_ok(&outcome), "{outcome:?}");
    check(&["relay", "--upstream", "ftp://h"]).await.failure(&["--upstream ftp://h", "http://"]);
    let args = ["relay", "--upstream", "http://h", "--detached", "1ms"];
    check(&args).await.failure(&["--detached", "1ms"]);
}

#[tokio::test]
async fn a_host_without_certificate_authorities_reaches_a_server_in_clear() {
    let node = serve().start().await.unwrap();
    let (url, admin) = (format!("http://{}", node.addr()), format!("http://{}", node.admin_addr()));
    let bare = async |args: &[&str]| {
        let mut command = Command::new(TAILWATER);
        command.args(args).env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        Cli::start_command(command).finish().await
    };
    bare(&["check", "--url", &admin]).await.success();
    bare(&["publish", "--url", &url, "--topic", "t", "hello"]).await.success();
    let args = ["tail", "--url", &url, "--from", "earliest", "--count", "1", "t"];
    assert!(bare(&args).await.success().stdout.contains("hello"));
    let args = ["check", "--url", "https://localhost:1"];
    bare(&args).await.failure(&["cannot build the HTTP client"]);
}

#[tokio::test]
async fn the_servers_that_are_read_from_are_named() {
    let primary = Redis::start().await.unwrap();
    let args = ["--redis", &primary.url(), "--read-from", "replica"];
    let outcome = check(&args).await.success();
    let alone = format!("reads        {}, a primary", primary.addr());
    assert!(outcome.stdout.contains(&alone), "{outcome:?}");
    let of = format!("127.0.0.1 {}", primary.addr().port());
    let replica = Redis::builder().arg("--replicaof").arg(of).start().await.unwrap();
    let named = format!("reads        {}, a replica of {}", replica.addr(), primary.addr());
    until("the replica follows", async || check(&args).await.success().stdout.contains(&named))
        .await;
    check(&["--read-from", "replica"]).await.failure(&["--read-from replica needs --redis"]);
    let outcome = check(&["--read-from", "some"]).await;
    assert!(outcome.stderr.contains("\"some\" names no servers to read from"), "{outcome:?}");
}

#[tokio::test]
async fn flags_that_contradict_each_other_are_refused_with_both_names() {
    for (args, words) in [
        (
            &["--listen", "127.0.0.1:8080", "--admin-listen", "0.0.0.0:8080"][..],
            &["--listen", "--admin-listen", "8080"][..],
        ),
        (
            &["--topic-ttl", "24h", "--history-age", "13h"],
            &["--topic-ttl", "--history-age", "1day", "13h"],
        ),
        (&["--max-connections", "1000000000"], &["--max-connections", "1000000000", "ulimit -n"]),
        (&["--max-connections", "0"], &["--max-connections", "0"]),
        (&["--max-topics", "0"], &["--max-topics", "0", "1 to 1024"]),
        (&["--heartbeat", "1s"], &["--heartbeat", "1s", "3s", "1m"]),
        (&["--retry", "10ms"], &["--retry", "10ms", "500ms"]),
        (&["--max-age", "1s"], &["--max-age", "1s", "10s"]),
        (&["--history-events", "0"], &["--history-events", "0"]),
        (&["--history-age", "1ms"], &["--history-age", "1ms"]),
        (&["--idempotency-ttl", "0s"], &["--idempotency-ttl", "0s"]),
        (&["--event-bytes-max", "1GiB"], &["--event-bytes-max", "1GiB", "64MiB"]),
        (&["--redis", "http://127.0.0.1"], &["--redis"]),
        (&["--redis", "redis://127.0.0.1/3"], &["--redis", "database 3"]),
        (&["--redis", "redis+sentinel://127.0.0.1"], &["--redis", "names no master"]),
        (&["--redis", "rediss://127.0.0.1?ca=/nowhere.pem"], &["--redis", "/nowhere.pem"]),
        (&["--durability", "disk"], &["--durability disk", "--redis"]),
        (&["--cors-origin", "*,https://a.example"], &["--cors-origin", "*"]),
        (&["--cors-origin", "a.example"], &["--cors-origin", "a.example"]),
        (&["--log-level", "gateway=loud"], &["log levels", "loud"]),
    ] {
        let outcome = check(args).await.failure(words);
        assert!(!is_ok(&outcome), "{args:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_durability_that_is_invalid_or_that_redis_cannot_give_is_refused() {
    let outcome = check(&["--durability", "replica:0"]).await;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("replica:0") && outcome.stderr.contains("replica:K"));
    let redis = Redis::start().await.unwrap();
    let args = ["--redis", &redis.url(), "--durability"];
    check(&[&args[..], &["replica:1"]].concat()).await.failure(&["replica:1", "0 replicas"]);
    check(&[&args[..], &["disk"]].concat()).await.failure(&["durability disk", "append"]);
}

#[tokio::test]
async fn a_node_refuses_what_a_check_refuses() {
    let args = ["serve", "--listen", "127.0.0.1:1", "--admin-listen", "127.0.0.1:1"];
    tailwater(&args).await.failure(&["--listen", "--admin-listen"]);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let args = ["serve", "--listen", &taken, "--admin-listen", "127.0.0.1:0"];
    tailwater(&args).await.failure(&["--listen", &taken]);
    for role in ["gateway", "ingest"] {
        let outcome = tailwater(&[role]).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("--redis"), "{outcome:?}");
    }
}
