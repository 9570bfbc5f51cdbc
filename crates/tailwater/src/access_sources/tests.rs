use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser as _;
use tempfile::TempDir;

use super::*;
use crate::args::{Args, Command};
use crate::config;

/// The sources of a node with these flags, and the warnings of its start.
fn open(flags: &[&str]) -> Result<(AccessSources, Vec<String>)> {
    let args = Args::try_parse_from([&["tailwater", "token", "explain"], flags].concat()).unwrap();
    let Command::Token(args) = args.command else { panic!("token") };
    let crate::args::TokenCommand::Explain(args) = args.command else { panic!("explain") };
    let mut warnings = Vec::new();
    let local = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let config = config::access(&args.access, &local, true, &mut warnings)?;
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Ok((AccessSources::open(config, &Registry::new())?, warnings))
}

fn write(directory: &TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[test]
fn issuers_with_one_key_set_fetch_it_once() {
    let directory = TempDir::new().unwrap();
    let block = |project: &str| {
        format!(
            "[[issuer]]\npreset = \"firebase\"\nissuer = \"https://securetoken.google.com/{project}\"\n"
        )
    };
    let config = write(&directory, "access.toml", &format!("{}{}", block("one"), block("two")));
    let (sources, _) = open(&["--auth-config", &config]).unwrap();
    assert_eq!(sources.servers.len(), 1);
    let keys = write(&directory, "keys", SET);
    let (sources, _) = open(&["--auth-keys", &keys]).unwrap();
    assert_eq!(sources.servers.len(), 0);
}

#[test]
fn a_secret_that_everybody_may_read_is_warned_about_and_public_keys_are_not() {
    let directory = TempDir::new().unwrap();
    let secret = write(&directory, "secret", "a secret that is longer than thirty-two bytes");
    let oct = r#"{"kty":"oct","k":"YSBzZWNyZXQgdGhhdCBpcyBsb25nZXIgdGhhbiB0aGlydHktdHdvIGJ5dGVz"}"#;
    let oct = write(&directory, "oct", oct);
    let set = write(&directory, "set", SET);
    for (file, warnings) in [(&secret, 1), (&oct, 1), (&set, 0)] {
        let said = open(&["--auth-keys", file]).unwrap().1;
        assert_eq!(said.len(), warnings, "{file}: {said:?}");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let directory = TempDir::new().unwrap();
    let set = write(&directory, "set", SET);
    open(&["--auth-keys", &set, "--auth-issuer", "", "--auth-audience", ""]).unwrap();
    let url = ["--auth-jwks", "https://a.example/k", "--auth-issuer", "https://a.example"];
    let error = open(&[&url[..], &["--auth-audience", ""]].concat()).unwrap_err();
    assert!(format!("{error:#}").contains("audience"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_of_keys_is_used_and_a_bad_one_is_not() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (SET.replace("one", "first"), SET.replace("one", "second"));
    let file = write(&directory, "keys", &first);
    let sources = Arc::new(open(&["--auth-keys", &file]).unwrap().0);
    let ring = Arc::clone(&sources.rings[0].1);
    let has = |id: &str| format!("{ring:?}").contains(&format!("Some(\"{id}\")"));
    let fresh = Arc::clone(&sources);
    let task = tokio::spawn(async move { fresh.keep_fresh().await });
    tokio::task::yield_now().await;
    assert!(has("first"));
    let change = async |text: Option<&str>, wanted: &str| {
        match text {
            Some(text) => drop(write(&directory, "keys", text)),
            None => std::fs::remove_file(&file).unwrap(),
        }
        // The file is read by a thread, whose time does not pause.
        for _ in 0..200 {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(has(wanted), "{text:?}: {ring:?}");
    };
    change(Some(&second), "second").await;
    change(Some("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"), "second").await;
    change(None, "second").await;
    change(Some(&first), "first").await;
    task.abort();
}
