//! The clients for the shell at a closed node, and the report of its access.

use std::path::Path;
use std::time::Duration;

use loadtest::machine::Tailwater;
use tempfile::TempDir;
use tokio::time::sleep;

use super::key_server::{self, Answer};
use super::mint::now;
use super::{AUDIENCE, ISSUER, Mint};
use crate::cli::{Cli, tailwater};
use crate::support::{publish, serve};

/// A closed node to whose topic `t` everybody may publish.
async fn closed(mint: &Mint) -> (Tailwater, String) {
    let node = mint.close(serve()).flag("--anonymous", "publish=t").start().await.unwrap();
    let url = format!("http://{}", node.addr());
    (node, url)
}

/// Writes a token that has expired, or is good for so many seconds.
fn write(file: &Path, mint: &Mint, seconds: i64) {
    // Clocks may differ by 30 s.
    std::fs::write(file, mint.sign(&Mint::claims("t", seconds - 30))).unwrap();
}

#[tokio::test]
async fn a_refused_client_is_told_where_its_token_is_and_what_to_do() {
    let (mint, other) = (Mint::new("one"), Mint::new("two"));
    let (node, url) = closed(&mint).await;
    let directory = TempDir::new().unwrap();
    let file = |name: &str, token: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("{token}\n")).unwrap();
        path.display().to_string()
    };
    let (good, foreign) = (file("good", &mint.token("t")), file("foreign", &other.token("t")));
    let (broken, empty) = (file("broken", "s3cret"), file("empty", ""));
    for (flags, words) in [
        (&["t"][..], &["401", "--token-file FILE", "TAILWATER_TOKEN"][..]),
        (&["u", "--token-file", &good], &["403", "\"u\"", "subscribe", &good]),
        (&["t", "--token-file", &foreign], &["401", &foreign, "tailwater token explain"]),
        (&["t", "--token-file", &broken], &["401", &broken]),
        (&["t", "--token-file", &empty], &["--token-file", &empty, "empty"]),
        (&["t", "--token-file", "/nowhere/token"], &["--token-file /nowhere/token"]),
    ] {
        let tail = [&["tail", "--url", &url], flags].concat();
        let refused = tailwater(&tail).await.failure(words);
        assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
    }
    let end = ["publish", "--url", &url, "--topic", "u", "--token-file", &good, "x"];
    tailwater(&end).await.failure(&["no right to publish", "1 events were refused", &good]);
    // The token in TAILWATER_TOKEN.
    publish(node.addr(), "t", "one").await;
    let mut command = tokio::process::Command::new(crate::support::TAILWATER);
    command.args(["tail", "--url", &url, "--from", "earliest", "--count", "1", "t"]);
    command.env("TAILWATER_TOKEN", mint.token("t"));
    Cli::start_command(command).finish().await.success();
}

#[tokio::test]
async fn a_reader_goes_on_with_the_token_that_was_put_into_its_file() {
    let mint = Mint::new("one");
    let (node, url) = closed(&mint).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    write(&file, &mint, 8);
    let ends = now() + 8;
    let path = file.display().to_string();
    let from = ["--from", "earliest", "--count", "2", "--format", "data"];
    let mut reader =
        Cli::start(&[&["tail", "--url", &url, "--token-file", &path, "t"], &from[..]].concat());
    publish(node.addr(), "t", "one").await;
    assert_eq!(reader.line().await, "one");
    // The token is renewed late.
    sleep(Duration::from_secs(u64::try_from(ends - now()).unwrap_or(0) + 1)).await;
    publish(node.addr(), "t", "two").await;
    write(&file, &mint, 3600);
    let read = reader.finish().await.success();
    assert!(read.stdout == "two\n" && read.stderr.contains("token_expired"), "{read:?}");
    assert!(!read.stderr.contains("GAP"), "{read:?}");
}

#[tokio::test]
async fn a_publisher_waits_for_a_new_token_in_its_file_and_no_longer_than_it_was_told() {
    let mint = Mint::new("one");
    let (_node, url) = closed(&mint).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    write(&file, &mint, -60);
    let path = file.display().to_string();
    let publish = ["publish", "--url", &url, "--topic", "t", "--token-file", &path, "x"];
    let impatient = [&publish[..], &["--retry-for", "1s"]].concat();
    tailwater(&impatient).await.failure(&["gave up", "401", "expired", &path]);
    let publisher = Cli::start(&publish);
    sleep(Duration::from_millis(500)).await;
    write(&file, &mint, 3600);
    let published = publisher.finish().await.success();
    assert!(published.stderr.contains("retrying"), "{published:?}");
}

#[tokio::test]
async fn a_check_reports_who_may_come_in_and_what_should_not_stay_so() {
    let mint = Mint::new("the-key");
    let directory = TempDir::new().unwrap();
    let secret = directory.path().join("secret").display().to_string();
    std::fs::write(&secret, "a s3cret that is longer than thirty-two bytes\n").unwrap();
    let answer = Answer::default();
    let server = key_server::start(&answer).await;
    let keys = mint.file().display().to_string();
    let named = ["--auth-issuer", ISSUER, "--auth-audience", AUDIENCE];
    let fetched = [&["--auth-jwks", &server], &named[..]].concat();
    let elsewhere = ["--listen", "0.0.0.0:0", "--auth-keys", &keys];
    let check = async |flags: &[&str]| {
        tailwater(&[&["check", "--admin-listen", "127.0.0.1:0"], flags].concat()).await
    };
    check(&fetched).await.failure(&[&server, "502"]);
    *answer.lock().unwrap() = Some(mint.keys());
    for (flags, lines) in [
        (
            &[&["--auth-keys", &keys], &named[..]].concat()[..],
            &[
                "access       tokens of issuer https://issuer.example for tailwater in aud",
                "access       key \"the-key\" for ES256",
                "access       tickets and stream cookies: by a key",
            ][..],
        ),
        (&fetched, &["access       1 keys of http://", "access       key \"the-key\" for ES256"]),
        (
            &["--auth-keys", &secret],
            &["warning      a shared secret", "warning      issuer any has no audience"],
        ),
        (
            &["--auth-keys", &keys, "--auth-algorithms", "EdDSA"],
            &["warning      key \"the-key\" verifies none"],
        ),
        (&elsewhere, &["warning      without TLS"]),
    ] {
        let report = check(flags).await.success();
        for line in lines {
            assert!(report.stdout.contains(line), "{flags:?} {line}: {}", report.stdout);
        }
        assert!(!format!("{report:?}").contains("s3cret"), "{report:?}");
    }
}
