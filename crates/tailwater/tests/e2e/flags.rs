//! The flags that bound what clients can hold, and those that keep secrets.

use std::fs;

use loadtest::client::http;
use loadtest::machine::Redis;
use tempfile::TempDir;

use crate::cli::tailwater;
use crate::support::{publish, serve, until};

fn file(directory: &TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn check_prints_the_bound_of_every_limit() {
    let args =
        ["check", "--memory-budget", "64MiB", "--max-open", "100", "--address-share", "0.25"];
    let said = tailwater(&args).await.success().stdout;
    let row = |name: &str| -> Vec<String> {
        // The table stands behind the sentences, one of which has the same subject.
        let line = said.lines().rfind(|line| line.split_whitespace().next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {said}"));
        line.split_whitespace().skip(1).map(ToOwned::to_owned).collect()
    };
    assert_eq!(row("connections"), ["100", "25", "-"]);
    assert_eq!(row("memory"), ["67108864", "16777216", "4194304"]);
    for limit in ["admin_connections", "subscriptions", "publishes", "publish_streams"] {
        assert_eq!(row(limit).len(), 3, "{limit}");
    }
}

#[tokio::test]
async fn a_bad_limit_is_refused_with_its_value_and_its_bound() {
    for (args, words) in [
        (["--max-open", "0"], ["--max-open is 0", "ulimit -n"]),
        (["--memory-budget", "1KiB"], ["--memory-budget", "one connection"]),
        (["--trusted-proxies", "10.0.0.0/40"], ["10.0.0.0/40", "--trusted-proxies"]),
        (["--replay-rate", "1KiB"], ["--replay-rate is 1KiB", "1MiB"]),
        (["--new-topics", "0"], ["--new-topics is 0", "at least 1"]),
        (["--allow-host", "http://x/"], ["http://x/", "--allow-host"]),
        (["--debug-token-file", "/no/such/file"], ["/no/such/file", "--debug-token-file"]),
    ] {
        tailwater(&[&["check"], &args[..]].concat()).await.failure(&words);
    }
    for share in ["0", "1.5", "half"] {
        let refused = tailwater(&["check", "--address-share", share]).await;
        assert!(refused.stderr.contains("above 0 and at most 1"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_password_comes_from_a_file() {
    let redis = Redis::start().await.unwrap();
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "s3:cr%t"]).await.unwrap(), "+OK");
    let directory = TempDir::new().unwrap();
    let password = file(&directory, "password", "s3:cr%t\n");
    let url = redis.url();
    let args = ["check", "--redis", &url, "--redis-password-file", &password];
    let said = tailwater(&args).await.success();
    assert!(!format!("{said:?}").contains("s3:cr%t"), "{said:?}");
    let twice = format!("redis://:x@{}", redis.addr());
    let args = ["check", "--redis", &twice, "--redis-password-file", &password];
    tailwater(&args).await.failure(&["--redis-password-file", "password already"]);
}

#[tokio::test]
async fn a_new_password_is_used_while_the_node_runs() {
    let redis = Redis::start().await.unwrap();
    let set = async |words: &[&str]| redis.command(words).await.unwrap();
    set(&["ACL", "SETUSER", "node", "on", ">0ld", "allkeys", "allchannels", "+@all"]).await;
    let directory = TempDir::new().unwrap();
    let password = file(&directory, "password", "0ld");
    let node = serve()
        .flag("--redis", format!("redis://node@{}", redis.addr()))
        .flag("--redis-password-file", &password)
        .start()
        .await
        .unwrap();
    crate::support::publish(node.addr(), "t", "1").await;
    // The file is first. Redis does not know its password yet, and the node goes on with the old one.
    file(&directory, "password", "n3w");
    until("it was tried", async || node.log().contains("new credentials of redis cannot be used"))
        .await;
    crate::support::publish(node.addr(), "t", "2").await;
    set(&["ACL", "SETUSER", "node", ">n3w"]).await;
    until("it is used", async || node.log().contains("credentials of redis replaced")).await;
    set(&["ACL", "SETUSER", "node", "<0ld"]).await;
    set(&["CLIENT", "KILL", "USER", "node"]).await;
    let mut client = http::Client::new(node.addr());
    until("it publishes again", async || {
        let published = client.post("/v1/events?topic=t", &[], "3".to_owned()).await.unwrap();
        published.status == 200
    })
    .await;
    assert!(!node.log().contains("0ld") && !node.log().contains("n3w"), "{}", node.log());
    let missing = ["check", "--redis-prefix", "shop"];
    tailwater(&missing).await.failure(&["--redis-prefix shop needs --redis"]);
    let url = redis.url();
    let bad = tailwater(&["check", "--redis", &url, "--redis-prefix", "a:b"]).await;
    assert!(bad.stderr.contains("letters, digits"), "{bad:?}");
    let said = tailwater(&["check", "--redis", &url, "--redis-prefix", "shop"]).await.success();
    assert!(said.stdout.contains("begins with shop:"), "{said:?}");
}

#[tokio::test]
async fn debug_needs_its_token_and_its_body_is_small() {
    let directory = TempDir::new().unwrap();
    let token = file(&directory, "token", "s3cret\n");
    let node = serve().flag("--debug-token-file", &token).start().await.unwrap();
    let mut http = http::Client::new(node.admin_addr());
    assert_eq!(http.get("/debug/log").await.unwrap().status, 401);
    assert_eq!(http.get("/metrics").await.unwrap().status, 200);
    let bearer = [("authorization", "Bearer s3cret")];
    let put = || "PUT".parse().unwrap();
    let answer = http.request(put(), "/debug/log", &bearer, "debug".into()).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "debug\n"));
    let large = "x".repeat(5000);
    let answer = http.request(put(), "/debug/log", &bearer, large.into()).await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn a_terminal_that_closes_lets_the_node_drain() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    if u64::from_str_radix(ignored, 16).unwrap() & 1 == 1 {
        // A node that nohup started stays, and so would this one.
        return;
    }
    let node = serve().start().await.unwrap();
    publish(node.addr(), "t", "x").await;
    node.hang_up().unwrap();
    until("the node has drained", async || node.log().contains("stopped")).await;
    assert!(node.log().contains("handed connections away"), "{}", node.log());
}
