//! Completions and manual pages.

use tokio::process::Command;

use crate::cli::{Cli, tailwater};
use crate::help::{COMMANDS, flags, help};
use crate::support::TAILWATER;

/// Completes the last word as bash does at a press of Tab, and prints a proposal a line.
const TAB: &str = r#"
    source <("$1" completions bash)
    COMP_WORDS=(tailwater "${@:2}") COMP_CWORD=$(($# - 1))
    _tailwater tailwater "${@: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
"#;

async fn completed(words: &[&str]) -> Vec<String> {
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", TAB, "bash", TAILWATER]).args(words);
    let outcome = Cli::start_command(command).finish().await.success();
    let mut proposals: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    proposals.sort();
    proposals
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    assert_eq!(completed(&["gat"]).await, ["gateway"]);
    assert_eq!(completed(&["token", "mi"]).await, ["mint"]);
    let flags = completed(&["gateway", "--redis-p"]).await;
    assert_eq!(flags, ["--redis-password-file", "--redis-prefix"]);
    assert_eq!(completed(&["token", "key", "--algorithm", "e"]).await, ["eddsa", "es256"]);
}

#[tokio::test]
async fn completions_of_zsh_and_fish_name_every_flag() {
    for (shell, mark) in [("zsh", "--"), ("fish", "-l ")] {
        let script = tailwater(&["completions", shell]).await.success().stdout;
        for command in COMMANDS {
            for (flag, _) in flags(&help(command).await) {
                let name = flag.replacen("--", mark, 1);
                assert!(script.contains(&name), "{shell}: {command}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn manual_pages_name_every_flag_and_variable_but_no_value_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(TAILWATER);
    command.arg("man").arg(dir.path()).env("TAILWATER_REDIS", "redis://:s3cret@127.0.0.1:1");
    Cli::start_command(command).finish().await.success();
    let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
    for command in COMMANDS {
        assert!(page("tailwater.1").contains(&format!("tailwater\\-{command}(1)")), "{command}");
        let page = page(&format!("tailwater-{command}.1"));
        assert!(page.contains(&format!("tailwater {}", env!("CARGO_PKG_VERSION"))), "{command}");
        assert!(!page.contains("s3cret"), "{command}");
        for (flag, text) in flags(&help(command).await) {
            assert!(page.contains(&flag.replace('-', "\\-")), "{command}: {flag}");
            if let Some((_, variable)) = text.split_once("[env: ") {
                let variable = variable.split(['=', ']']).next().unwrap();
                assert!(page.contains(variable), "{command}: {variable}");
            }
        }
    }
    assert!(page("tailwater-token-mint.1").contains("\\-\\-sub"));
}

#[tokio::test]
async fn manual_pages_need_a_folder_that_exists() {
    tailwater(&["man", "/nowhere"]).await.failure(&["/nowhere", "No such file or directory"]);
}
