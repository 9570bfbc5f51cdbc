//! `tailwater token`: a token is made, and explained to an operator whose users are refused.

use tempfile::TempDir;

use crate::cli::{Outcome, tailwater, tailwater_reading};

struct Desk(TempDir);

impl Desk {
    /// A directory with a pair of keys.
    async fn new() -> Self {
        let desk = Self(TempDir::new().unwrap());
        tailwater(&["token", "key", "--out", &desk.file("key")]).await.success();
        desk
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.file(name), text).unwrap();
        self.file(name)
    }

    async fn mint(&self, flags: &[&str]) -> String {
        let key = self.file("key");
        let mint = ["token", "mint", "--key", &key, "--sub", "ann"];
        let token = tailwater(&[&mint, flags].concat()).await.success().stdout;
        assert_eq!(token.trim().split('.').count(), 3, "{token}");
        token
    }

    /// Explains a token, and looks that its signature stands nowhere.
    async fn explain(&self, token: &str, flags: &[&str]) -> Outcome {
        let outcome = tailwater_reading(token, &[&["token", "explain"], flags].concat()).await;
        let signature = token.trim().rsplit('.').next().unwrap();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(signature.len() < 40 || !said.contains(signature), "{said}");
        outcome
    }
}

#[tokio::test]
async fn a_token_that_a_node_accepts_is_shown_with_its_rights() {
    let desk = Desk::new().await;
    let rights = ["--subscribe", "user/{sub}", "--publish", "in/**", "--history", "30m", "--admin"];
    let token = desk.mint(&rights).await;
    let public = desk.file("key.pub");
    let explained = desk.explain(&token, &["--auth-keys", &public]).await.success().stdout;
    for part in [
        "alg ES256",
        "\"ann\"",
        "accepted",
        "user/{sub}",
        "in/**",
        "30m",
        "may revoke",
        "those of the node",
    ] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let unknown = desk.explain(&token, &[]).await.success().stdout;
    assert!(unknown.contains("unknown: give the flags"), "{unknown}");
    let file = desk.write("token", &format!("Bearer {token}\n"));
    let flags = ["token", "explain", "--auth-keys", &public, "--token-file", &file];
    assert!(tailwater(&flags).await.success().stdout.contains("accepted"));
}

#[tokio::test]
async fn a_token_that_a_node_refuses_is_shown_with_the_rules_and_the_reason() {
    let desk = Desk::new().await;
    // A file of keys stands beside the configuration that names it.
    let config = desk.write(
        "access.toml",
        "[[issuer]]\npreset = \"keycloak\"\nissuer = \"https://k.example/realms/shop\"\n\
         audience = \"events\"\nkeys = [\"key.pub\"]\njwks = \"none\"\n",
    );
    let flags = ["--auth-config", &*config];
    let issuer = ["--issuer", "https://k.example/realms/shop", "--audience", "events"];
    let slash = desk.mint(&["--issuer", "https://k.example/realms/shop/"]).await;
    let explained = desk.explain(&slash, &flags).await.failure(&["by a slash at the end"]);
    for rule in ["typ: Bearer", "aud: events", "max-life: 31d", "key.pub"] {
        assert!(explained.stdout.contains(rule), "{rule}: {}", explained.stdout);
    }
    let other = desk.mint(&["--issuer", "https://k.example/realms/shop", "--audience", "x"]).await;
    desk.explain(&other, &flags).await.failure(&["(audience)", "accepted audiences: [\"events\"]"]);
    let untyped = desk.mint(&issuer).await;
    desk.explain(&untyped, &flags).await.failure(&["claim typ", "Bearer"]);
    desk.explain("opaque", &flags).await.failure(&["opaque token"]);
    desk.explain("a.b.c.d.e", &flags).await.failure(&["encrypted token"]);
    desk.explain("", &flags).await.failure(&["there is no token"]);
    let server = "http://127.0.0.1:1/keys";
    let away = ["--auth-jwks", server, "--auth-issuer", issuer[1], "--auth-audience", "any"];
    let unknown = desk.explain(&untyped, &away).await;
    unknown.failure(&["keys_unavailable", server, "cannot be fetched"]);
    let stranger = Desk::new().await.mint(&issuer).await;
    let public = desk.file("key.pub");
    desk.explain(&stranger, &["--auth-keys", &public]).await.failure(&["signature"]);
}

#[tokio::test]
async fn a_fault_of_the_configuration_names_its_line_and_no_value() {
    let desk = Desk::new().await;
    let token = desk.mint(&[]).await;
    for (text, words) in [
        ("[[issuer]]\nsecret = \"s3cret-s3cret\"\n", &["line 2", "unknown field"][..]),
        ("[[issuer]]\nissuer = \"https://a\"\nkeys = [\"gone\"]\n", &["gone", "No such file"]),
        (
            "[[issuer]]\nkeys = [\"key.pub\"]\nmax-life = \"31\"\n",
            &["[[issuer]] 1", "max-life", "31d"],
        ),
    ] {
        let config = desk.write("access.toml", text);
        let refused = desk.explain(&token, &["--auth-config", &config]).await.failure(words);
        assert!(!refused.stderr.contains("s3cret"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_key_is_not_written_over() {
    let desk = Desk::new().await;
    let again = tailwater(&["token", "key", "--out", &desk.file("key")]).await;
    again.failure(&["exists"]);
}
