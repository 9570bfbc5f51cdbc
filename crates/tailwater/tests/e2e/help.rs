//! The help pages, which document every flag.

use tokio::process::Command;

use crate::cli::{Cli, tailwater};
use crate::support::TAILWATER;

pub(crate) const COMMANDS: [&str; 7] =
    ["serve", "gateway", "ingest", "relay", "publish", "tail", "check"];

pub(crate) async fn help(command: &str) -> String {
    tailwater(&[command, "--help"]).await.success().stdout
}

#[tokio::test]
async fn the_first_help_page_lists_the_commands() {
    insta::assert_snapshot!(tailwater(&["--help"]).await.success().stdout);
}

#[tokio::test]
async fn the_help_of_a_gateway_lists_its_flags() {
    insta::assert_snapshot!(help("gateway").await);
}

#[tokio::test]
async fn the_help_of_a_relay_lists_its_flags() {
    insta::assert_snapshot!(help("relay").await);
}

/// Returns the flags of a help page with their texts.
pub(crate) fn flags(page: &str) -> Vec<(String, String)> {
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in page.lines() {
        let start = line.trim_start();
        // The text of a flag and its values are indented further.
        if start.starts_with('-') && line.len() - start.len() < 10 {
            let long = start.find("--").map_or(start, |at| &start[at..]);
            let name = long.split([' ', ',', '[', '\u{2026}']).next().unwrap_or_default();
            flags.push((name.to_owned(), line.to_owned()));
        } else if let Some((_, text)) = flags.last_mut() {
            text.push(' ');
            text.push_str(start);
        }
    }
    flags
}

#[tokio::test]
async fn every_flag_is_an_environment_variable_too() {
    for command in COMMANDS {
        let page = help(command).await;
        for (name, text) in flags(&page) {
            // `check --url` does not mean the URL of `publish` and `tail`, so it has no variable.
            if name == "--help" || (command, name.as_str()) == ("check", "--url") {
                continue;
            }
            let variable = name.trim_start_matches('-').replace('-', "_").to_uppercase();
            assert!(text.contains(&format!("[env: TAILWATER_{variable}")), "{command}: {text}");
        }
    }
}

#[tokio::test]
async fn every_duration_and_size_has_a_unit_in_its_default() {
    let page = help("serve").await;
    let with_units = ["--heartbeat", "--retry", "--max-age", "--drain-delay", "--drain-window"];
    let more = ["--history-age", "--topic-ttl", "--idempotency-ttl", "--shutdown-grace"];
    let flags = flags(&page);
    for name in with_units.iter().chain(&more).chain(&["--event-bytes-max"]) {
        let (_, text) = flags.iter().find(|(flag, _)| flag == name).expect(name);
        let default = text.split("[default: ").nth(1).expect(name).split(']').next().unwrap();
        assert!(default.ends_with(|c: char| c.is_alphabetic()), "{name}: {default}");
    }
}

#[tokio::test]
async fn a_switch_accepts_every_word_for_true_and_false() {
    let node = crate::support::serve().start().await.unwrap();
    let url = format!("http://{}", node.addr());
    for (value, is_quiet) in [("1", true), ("yes", true), ("true", true), ("0", false)] {
        let mut command = Command::new(TAILWATER);
        command.args(["publish", "--topic", "t", "x"]);
        command.env("TAILWATER_URL", &url).env("TAILWATER_QUIET", value);
        let outcome = Cli::start_command(command).finish().await.success();
        assert_eq!(outcome.stderr.is_empty(), is_quiet, "{value}: {outcome:?}");
    }
}

#[tokio::test]
async fn variables_work_and_passwords_in_them_are_not_shown() {
    let run = async |args: &[&str]| {
        let mut command = Command::new(TAILWATER);
        command
            .args(args)
            .env("TAILWATER_REDIS", "redis://:s3cret@127.0.0.1:1")
            .env("TAILWATER_NODE", "from-the-environment")
            .env("TAILWATER_DRAIN_WINDOW", "7s")
            .env("TAILWATER_HEARTBEAT", "4s");
        Cli::start_command(command).finish().await
    };
    let outcome = run(&["check"]).await.failure(&["127.0.0.1:1"]);
    assert!(outcome.stdout.contains("from-the-environment"), "{outcome:?}");
    assert!(outcome.stdout.contains("4s"), "{outcome:?}");
    for args in [&["serve", "--help"][..], &["check"], &["gateway", "-h"], &["ingest", "--nope"]] {
        assert!(!format!("{:?}", run(args).await).contains("s3cret"), "{args:?}");
    }
}
