//! Nodes that are closed to those without rights, and the tokens of some parties.

use std::sync::Arc;
use std::time::Duration;

use access::{
    Access, Issuer, Key, KeyRing, Machines, Patterns, Rights, Settings, Timestamp, Tokens,
    machine_hash,
};
use ingest::Config;
use jsonwebtoken::{EncodingKey, Header, encode};
use metrics::Registry;
use serde_json::json;

use crate::server::Server;

/// May publish to `a/*` and `shared`, and end `a/1`.
pub(crate) const ANN: (&str, &str) = ("authorization", "Bearer token-of-ann");
/// May publish to `shared`, and read `a/*`.
pub(crate) const BOB: (&str, &str) = ("authorization", "Bearer token-of-bob");
/// May read `c`.
pub(crate) const CAT: (&str, &str) = ("authorization", "Bearer token-of-cat");
/// May revoke.
pub(crate) const ROOT: (&str, &str) = ("authorization", "Bearer token-of-root");
pub(crate) const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

const SECRET: &str = "a secret of these tests, longer than 32 bytes";
/// The name of the cookie that may hold a token.
pub(crate) const COOKIE: &str = "__Host-tailwater";
/// The time that a token is accepted beyond its `exp`.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);

/// A decision that knows these machines and the tokens of [`token`]. Everybody may publish to `open`.
pub(crate) fn closed() -> Access {
    let publish = Patterns::new(["open"]).unwrap();
    let everybody = Arc::new(Rights { publish, ..Rights::default() });
    let line = |token: &str, name: &str, rights: &str| {
        format!("{} {name} {rights}\n", machine_hash(token))
    };
    let lines = [
        line("token-of-ann", "ann", r#"{"publish":["a/*","shared"],"end":["a/1"]}"#),
        line("token-of-bob", "bob", r#"{"publish":["shared"],"subscribe":["a/*"]}"#),
        line("token-of-cat", "cat", r#"{"subscribe":["c"]}"#),
        line("token-of-root", "root", r#"{"admin":true}"#),
    ];
    let machines = Machines::parse(&lines.concat(), &everybody).unwrap();
    let (keys, _) = Key::read_file(SECRET).unwrap();
    let issuer = Issuer { files: Arc::new(KeyRing::new(keys)), ..Issuer::default() };
    let registry = Registry::new();
    let tokens = Tokens::new(vec![issuer], Arc::clone(&everybody), &registry);
    let cookie = COOKIE.into();
    let settings = Settings { machines, tokens, everybody, cookie, ..Settings::default() };
    Access::closed(settings, &registry)
}

/// A token that may publish to and end everything, and whose right ends in so many seconds. Its `exp` is
/// [`LEEWAY`] before.
pub(crate) fn token(seconds: u64) -> String {
    let exp = Timestamp::now().as_seconds() + seconds - LEEWAY.as_secs();
    let rights = json!({ "publish": ["**"], "end": ["**"] });
    let claims = json!({ "sub": "dan", "exp": exp, "tailwater": rights });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}

pub(crate) async fn server() -> Server {
    with_access().await.0
}

pub(crate) async fn with_access() -> (Server, Access) {
    let access = closed();
    let server = Server::with(Config { access: access.clone(), ..Config::default() }).await;
    (server, access)
}
