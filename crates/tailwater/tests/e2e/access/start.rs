//! The start of a node that others reach, the flags that contradict each other, and the clients for the shell.

use tempfile::TempDir;

use super::Mint;
use crate::cli::tailwater;
use crate::support::{publish, serve};

#[tokio::test]
async fn a_node_that_other_machines_reach_does_not_start_before_it_is_told_who_may_come_in() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (short, private) = (
        file("short", "s3cret\n"),
        file("private", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"),
    );
    let (machines, tickets) = (file("machines", "s3cret robot {}\n"), file("tickets", "s3cret\n"));
    let config = file("config", "[[issuer]]\nissuer = \"https://a\"\njwks = \"https://a/k\"\n");
    let keys = file("keys", "a secret that is longer than thirty-two bytes\n");
    for (flags, parts) in [
        (
            &["--listen", "0.0.0.0:0"][..],
            &["--auth-keys", "--auth-jwks", "--anonymous", "0.0.0.0:0"][..],
        ),
        (&["--listen", "[::]:0"], &["--auth-keys"]),
        (&["--anonymous", "read=x"], &["--anonymous", "read=x", "subscribe=PATTERN"]),
        (&["--anonymous", "subscribe=a b"], &["--anonymous subscribe", "' '"]),
        (&["--anonymous", "subscribe=u/{sub}"], &["{sub}"]),
        (&["--auth-keys", &short], &["--auth-keys", "6 bytes", "32"]),
        (&["--auth-keys", &private], &["private key"]),
        (&["--auth-keys", "/nowhere/keys"], &["--auth-keys /nowhere/keys"]),
        (
            &["--auth-jwks", "http://a.example/k", "--auth-issuer", "x", "--auth-audience", "y"],
            &["https://"],
        ),
        (&["--auth-jwks", "https://a.example/k"], &["audience"]),
        (&["--auth-jwks", "https://a.example/k", "--auth-audience", "y"], &["issuer"]),
        (&["--auth-issuer", "https://a"], &["--auth-issuer", "--auth-keys"]),
        (&["--auth-config", &config], &["--auth-config", "audience"]),
        (&["--auth-config", &config, "--auth-keys", &keys], &["--auth-keys", "--auth-config"]),
        (&["--auth-tokens", &machines], &["--auth-tokens", "line 1"]),
        (&["--auth-keys", &keys, "--ticket-keys", &tickets], &["--ticket-keys", "line 1"]),
        (&["--ticket-keys", &tickets], &["--ticket-keys", "--auth-keys"]),
        (&["--auth-keys", &keys, "--auth-algorithms", "ES512"], &["ES512", "ES256"]),
        (&["--auth-keys", &keys, "--auth-cookie", "a b"], &["--auth-cookie", "a b"]),
        (&["--auth-keys", &keys, "--auth-claim", "/user_metadata/x"], &["user_metadata"]),
    ] {
        let start = [&["check", "--admin-listen", "127.0.0.1:0"], flags].concat();
        let refused = tailwater(&start).await;
        assert!(refused.code != Some(0), "{flags:?}: {}", refused.stdout);
        for part in parts {
            assert!(refused.stderr.contains(part), "{flags:?}: {}", refused.stderr);
        }
        assert!(!refused.stderr.contains("s3cret"), "{}", refused.stderr);
    }
    let anonymous = ["check", "--listen", "0.0.0.0:0", "--anonymous", "subscribe=news/**"];
    let accepted = tailwater(&anonymous).await;
    assert!(
        accepted.code == Some(0) && accepted.stdout.contains("everybody may subscribe news/**")
    );
    let open = tailwater(&["check", "--listen", "127.0.0.1:0"]).await;
    assert!(open.stdout.contains("open: everybody on this machine"), "{}", open.stdout);
}

#[tokio::test]
async fn the_clients_of_the_shell_bring_a_token_from_a_file() {
    let mint = Mint::new("one");
    let node = mint.close(serve()).flag("--anonymous", "publish=t").start().await.unwrap();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{}\n", mint.token("t"))).unwrap();
    let (url, file) = (format!("http://{}", node.addr()), file.display().to_string());
    publish(node.addr(), "t", "before").await;
    let tail =
        ["tail", "--url", &url, "--from", "earliest", "--count", "1", "--format", "data", "t"];
    let refused = tailwater(&tail).await;
    assert!(refused.code != Some(0) && refused.stderr.contains("401"), "{}", refused.stderr);
    let read = tailwater(&[&tail[..], &["--token-file", &file]].concat()).await;
    assert!(read.code == Some(0) && read.stdout == "before\n", "{} {}", read.stdout, read.stderr);
    let publish = ["publish", "--url", &url, "--topic", "u", "x"];
    let refused = tailwater(&publish).await;
    assert!(
        refused.code != Some(0) && refused.stderr.contains("a token is needed"),
        "{}",
        refused.stderr
    );
}
