//! Access: users with few rights, and TLS.

use std::path::Path;
use std::process::Command;

use event_log::AppendError;
use redis_log::{Config, ConnectError, RedisLog, RedisUrl};
use tempfile::TempDir;

use crate::deployment::{Cluster, Sentinels};
use crate::server::Server;
use crate::support::{Reader, append, config_at, event, keyed, open, topic, try_append};

/// The rights that the log needs, and no others, as in docs/operations.md.
const RIGHTS: &str = "resetkeys resetchannels ~e:* ~h:* ~i:* ~n:* ~q:* &e:* -@all \
    +hello +auth +client|setname +ping +unwatch +info +wait +config|get \
    +script|load +evalsha +time +get +mget +set +pexpire +xadd +xtrim +xrange +xrevrange \
    +hget +hset +hdel +zadd +zrange +zremrangebyscore \
    +spublish +ssubscribe +sunsubscribe";
/// More rights, of gateways with --presence, as in docs/operations.md.
const PRESENCE_RIGHTS: &str = "+hlen +hgetall +hscan +zrem";
const CLUSTER_RIGHTS: &str = "+cluster|info +cluster|slots +asking";

/// More rights, of an operator who lists, deletes and erases, as in docs/operations.md.
const OPERATOR_RIGHTS: &str = "+scan +xlen +memory|usage +pubsub|shardnumsub +xdel";

/// Adds a user with these rights only.
async fn restrict(server: &Server, rights: &str) {
    server.words::<()>(&format!("ACL SETUSER tailwater on >s3cret {rights}")).await;
}

/// Publishes and reads on some topics.
async fn works(config: Config) {
    let log = open(config.clone()).await;
    let other = open(config).await;
    for i in 0..10 {
        let t = topic(&format!("t{i}"));
        let mut reader = Reader::latest(&other, &t).await;
        for n in 1..=130 {
            append(&log, &t, "x").await;
            assert_eq!(reader.until(n).await, [n]);
        }
        let mut reader = Reader::resume(&log, &t, "0-0").await;
        assert!(reader.until(130).await.into_iter().eq(1..=130));
    }
}

fn with_login(url: &str) -> String {
    url.replace("://", "://tailwater:s3cret@")
}

#[tokio::test]
async fn a_user_with_the_documented_rights_is_enough() {
    let server = Server::start().await;
    restrict(&server, RIGHTS).await;
    server.words::<()>("ACL SETUSER default nopass -@all +acl").await;
    let refused = RedisLog::connect(config_at(&server.url())).await.unwrap_err().to_string();
    assert!(refused.contains("no permissions"), "{refused}");
    let mut config = config_at(&with_login(&server.url()));
    config.durability = "disk".parse().unwrap();
    let refused = RedisLog::connect(config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("appendonly is no"), "{refused}");
    config.durability = "memory".parse().unwrap();
    works(config).await;
}

#[tokio::test]
async fn logs_with_prefixes_share_a_server_and_nothing_else() {
    let server = Server::start().await;
    server.words::<()>("ACL SETUSER default nopass").await;
    let rights = RIGHTS.replace("~", "~shop:").replace("&e", "&shop:e");
    restrict(&server, &rights).await;
    server.words::<()>(&format!("ACL SETUSER plain on >s3cret {RIGHTS}")).await;
    let mut shop = config_at(&with_login(&server.url()));
    let plain = config_at(&server.url().replace("://", "://plain:s3cret@"));
    // Each user has its own keys, and no others.
    let refused = RedisLog::connect(shop.clone()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Rights { .. }), "{refused:?}");
    shop.prefix = "shop".parse().unwrap();
    let other = Config { prefix: "shop".parse().unwrap(), ..plain.clone() };
    let refused = RedisLog::connect(other).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Rights { .. }), "{refused:?}");

    works(shop.clone()).await;
    let (log, other) = (open(plain).await, open(shop).await);
    let t = topic("t0");
    let mut reader = Reader::latest(&log, &t).await;
    assert_eq!(append(&other, &t, "x").await.position.n, 131);
    assert_eq!(append(&log, &t, "x").await.position.n, 1);
    assert_eq!(reader.until(1).await, [1]);
    let keys: Vec<String> = server.words("KEYS *").await;
    let own = keys.iter().filter(|key| key.starts_with("shop:")).count();
    assert_eq!((own, keys.len()), (20, 22), "{keys:?}");
}

/// As docs/operations.md says: every key gets its new name while no node runs.
#[tokio::test]
async fn a_log_whose_keys_are_renamed_goes_on_under_the_prefix() {
    let server = Server::start().await;
    let t = topic("orders/42");
    let old = open(config_at(&server.url())).await;
    let once = |data: &str| keyed(&t, data, "k");
    let first = try_append(&old, once("1")).await.unwrap();
    append(&old, &t, "2").await;
    let place = {
        let mut reader = Reader::resume(&old, &t, "0-0").await;
        reader.until(2).await;
        reader.wire()
    };
    old.shutdown().await;
    for key in server.words::<Vec<String>>("KEYS *").await {
        server.words::<()>(&format!("RENAMENX {key} shop:{key}")).await;
    }
    let config = Config { prefix: "shop".parse().unwrap(), ..config_at(&server.url()) };
    let log = open(config).await;
    let again = try_append(&log, once("1")).await.unwrap();
    assert_eq!((again.position, again.duplicate), (first.position, true));
    assert_eq!(append(&log, &t, "3").await.position.n, 3);
    let mut reader = Reader::resume(&log, &t, &place).await;
    assert_eq!(reader.until(3).await, [3]);
}

#[tokio::test]
async fn a_new_password_is_taken_once_the_server_accepts_it() {
    let server = Server::start().await;
    restrict(&server, RIGHTS).await;
    let log = open(config_at(&with_login(&server.url()))).await;
    let t = topic("t");
    append(&log, &t, "1").await;
    let new = server.url().replace("://", "://tailwater:n3w@").parse().unwrap();
    let refused = log.renew(&new).await.unwrap_err().to_string();
    assert!(refused.to_lowercase().contains("password") && !refused.contains("n3w"), "{refused}");
    // The log goes on with what it has.
    append(&log, &t, "2").await;

    server.words::<()>("ACL SETUSER tailwater >n3w").await;
    assert!(log.renew(&new).await.unwrap());
    assert!(!log.renew(&new).await.unwrap(), "the same again is no change");
    server.words::<()>("ACL SETUSER tailwater <s3cret").await;
    // Every connection is made again, and none with the old password.
    server.words::<()>("CLIENT KILL USER tailwater").await;
    let mut tries = 0;
    while let Err(error) = try_append(&log, event(&t, "3")).await {
        tries += 1;
        assert!(tries < 20, "{error}");
    }
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    reader.until(3).await;
    assert_eq!(log.stats().refusals(), 0);
}

#[tokio::test]
async fn presence_works_with_its_rights_and_misses_each_of_them() {
    let server = Server::start().await;
    let config = Config { presence: true, ..config_at(&with_login(&server.url())) };
    for right in PRESENCE_RIGHTS.split(' ') {
        restrict(&server, &format!("{RIGHTS} {PRESENCE_RIGHTS} -{}", &right[1..])).await;
        let refused = RedisLog::connect(config.clone()).await.unwrap_err().to_string();
        assert!(refused.contains(&right[1..].to_uppercase()), "{right}: {refused}");
    }
    restrict(&server, &format!("{RIGHTS} {PRESENCE_RIGHTS}")).await;
    let log = RedisLog::connect(config).await.unwrap();
    assert!(server.words::<Vec<String>>("KEYS *").await.is_empty(), "the check leaves nothing");
    let grace = std::time::Duration::from_secs(6);
    let presence = presence::Presence::new(log.presence(grace), grace, &metrics::Registry::new());
    let (room, info) = (topic("room"), std::sync::Arc::from("{}"));
    let id = presence::MemberId::of(&["ann"]);
    let _ann = presence.join([room.clone()], id, &info);
    presence.report().await;
    assert_eq!(presence.view(&room).await.unwrap().count, 1);
    let counts = presence.counts("r", &|_| true).await.unwrap();
    assert_eq!(counts.topics, [(room, 1)]);
}

#[tokio::test]
async fn each_missing_right_is_named_and_the_check_leaves_nothing() {
    let server = Server::start().await;
    let config = config_at(&with_login(&server.url()));
    restrict(&server, &format!("{RIGHTS} -xadd -set -spublish -ssubscribe")).await;
    let refused = RedisLog::connect(config.clone()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Rights { .. }), "{refused:?}");
    let refused = refused.to_string();
    for missing in ["XADD on e:*", "SET on h:*", "SET on i:*", "SPUBLISH", "SSUBSCRIBE"] {
        assert!(refused.contains(missing), "{missing}: {refused}");
    }
    assert!(!refused.contains("XTRIM") && !refused.contains("s3cret"), "{refused}");

    for right in RIGHTS.split_whitespace().filter(|word| word.starts_with('+')) {
        // Durability needs the last two; a connection needs the others.
        if ["+hello", "+auth", "+client|setname", "+wait", "+config|get"].contains(&right) {
            continue;
        }
        restrict(&server, &format!("{RIGHTS} -{}", &right[1..])).await;
        assert!(RedisLog::connect(config.clone()).await.is_err(), "without {right}");
    }
    for keys in [
        "~e:* ~h:* ~n:* ~q:* &e:*",
        "~e:* ~i:* ~n:* ~q:* &e:*",
        "~h:* ~i:* ~n:* ~q:* &e:*",
        "~e:* ~h:* ~i:* ~n:* ~q:*",
        "~e:* ~h:* ~i:* ~n:* &e:*",
        "~e:* ~h:* ~i:* ~q:* &e:*",
    ] {
        restrict(&server, &format!("{RIGHTS} resetkeys resetchannels {keys}")).await;
        let refused = RedisLog::connect(config.clone()).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Rights { .. }), "{keys}: {refused:?}");
    }
    restrict(&server, RIGHTS).await;
    RedisLog::connect(config).await.unwrap();
    let keys: Vec<String> = server.words("KEYS *").await;
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_counted() {
    let server = Server::start().await;
    restrict(&server, RIGHTS).await;
    let log = open(config_at(&with_login(&server.url()))).await;
    append(&log, &topic("t"), "1").await;
    assert_eq!(log.stats().refusals(), 0);
    restrict(&server, &format!("{RIGHTS} -xadd")).await;
    let refused = try_append(&log, event(&topic("t"), "2")).await.unwrap_err();
    assert!(matches!(refused, AppendError::Unavailable(_)), "{refused}");
    assert_eq!(log.stats().refusals(), 1);
}

#[tokio::test]
async fn an_operator_needs_the_documented_rights_and_a_node_lacks_them() {
    let server = Server::start().await;
    restrict(&server, RIGHTS).await;
    let log = open(config_at(&with_login(&server.url()))).await;
    let t = topic("t");
    let receipt = append(&log, &t, "1").await;
    append(&log, &t, "2").await;
    assert!(log.inventory(|_| true, |_| {}).await.is_err());
    assert!(log.erase(&t, receipt.position).await.is_err());
    restrict(&server, &format!("{RIGHTS} {OPERATOR_RIGHTS}")).await;
    let mut topics = Vec::new();
    log.inventory(|_| true, |topic| topics.push(topic)).await.unwrap();
    assert_eq!((topics.len(), topics[0].events), (1, 2));
    assert!(log.erase(&t, receipt.position).await.unwrap());
    assert!(log.delete(&t).await.unwrap());
}

#[tokio::test]
async fn sentinels_have_users_of_their_own() {
    let deployment = Sentinels::start().await;
    for server in &deployment.servers {
        restrict(server, RIGHTS).await;
    }
    let rights = "-@all +auth +hello +sentinel|master \
                  +sentinel|get-master-addr-by-name";
    for sentinel in &deployment.sentinels {
        sentinel.words::<()>(&format!("ACL SETUSER watcher on >w0rd {rights}")).await;
        sentinel.words::<()>("ACL SETUSER default -@all +acl").await;
    }
    let url = with_login(&deployment.url());
    let refused = RedisLog::connect(config_at(&url)).await.unwrap_err().to_string();
    assert!(refused.contains("no permissions") && !refused.contains("s3cret"), "{refused}");
    let url = format!("{url}?sentinel_user=watcher&sentinel_password=w0rd");
    works(config_at(&url)).await;
}

#[tokio::test]
async fn a_cluster_accepts_its_users_on_all_nodes() {
    let deployment = Cluster::start().await;
    for node in &deployment.nodes {
        restrict(node, &format!("{RIGHTS} {CLUSTER_RIGHTS}")).await;
    }
    works(config_at(&with_login(&deployment.url()))).await;
}

/// Makes an authority, and a server's certificate that it has signed.
fn certificates(dir: &Path) {
    let script = "\
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ours -keyout ca.key -out ca.crt\n\
        openssl req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr\n\
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > names\n\
        openssl x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile names -out redis.crt\n\
        openssl req -newkey rsa:2048 -nodes -subj /CN=tailwater -keyout node.key -out node.csr\n\
        openssl x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile names -out node.crt\n";
    let made = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A server with TLS, and the certificates around it.
struct Encrypted {
    dir: TempDir,
    server: Server,
    /// Names the authority.
    url: String,
}

impl Encrypted {
    /// Starts it; `None`, with a message, if the server was built without TLS.
    async fn start() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        certificates(dir.path());
        let file = |name: &str| dir.path().join(name).display().to_string();
        let (certificate, key, ca) = (file("redis.crt"), file("redis.key"), file("ca.crt"));
        let Some(server) = Server::encrypted(&certificate, &key, &ca).await else {
            eprintln!("this server was built without TLS");
            return None;
        };
        let url = format!("rediss://127.0.0.1:{}?ca={ca}", server.tls_port());
        Some(Self { dir, server, url })
    }
}

#[tokio::test]
async fn tls_trusts_the_named_authority_and_no_other() {
    let Some(Encrypted { dir, server: _server, url }) = Encrypted::start().await else { return };
    let file = |name: &str| dir.path().join(name).display().to_string();
    works(config_at(&url)).await;
    open(config_at(&url.replace("127.0.0.1", "localhost"))).await;
    let others = TempDir::new().unwrap();
    certificates(others.path());
    let url = url.replace(&file("ca.crt"), &others.path().join("ca.crt").display().to_string());
    let refused = RedisLog::connect(config_at(&url)).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_the_named_one() {
    let Some(Encrypted { dir, server, url }) = Encrypted::start().await else { return };
    let file = |name: &str| dir.path().join(name).display().to_string();
    server.words::<()>("CONFIG SET tls-auth-clients yes").await;
    let refused = RedisLog::connect(config_at(&url)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused}");
    let with = |cert: &str, key: &str| format!("{url}&cert={}&key={}", file(cert), file(key));
    let known = with("node.crt", "node.key");
    works(config_at(&known)).await;

    // A pair that does not fit, and files that hold something else.
    for (cert, key) in
        [("node.crt", "redis.key"), ("node.key", "node.key"), ("node.crt", "node.crt")]
    {
        let bad = with(cert, key).parse::<RedisUrl>().unwrap_err().to_string();
        assert!(bad.contains(&file(cert)) && bad.contains("no certificate for TLS"), "{bad}");
    }
    // Renewed files are another identity.
    let log = open(config_at(&known)).await;
    assert!(!log.renew(&known.parse().unwrap()).await.unwrap());
    certificates(dir.path());
    let refused = log.renew(&known.parse().unwrap()).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    append(&log, &topic("t"), "1").await;
}
