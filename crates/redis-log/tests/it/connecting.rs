use std::time::Duration;

use event_log::{AppendError, Log};
use redis_log::{Config, ConnectError, RedisLog};

use crate::server::Server;
use crate::support::{Reader, append, config, event, eventually, open, topic, try_append};

#[tokio::test]
async fn an_unreachable_server_is_named_without_its_password() {
    let url = "redis://me:s3cret@127.0.0.1:1".parse().unwrap();
    let error = RedisLog::connect(Config::new(url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("127.0.0.1:1") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_password_opens_the_pool_and_the_feed() {
    let server = Server::start().await;
    server.words::<()>("CONFIG SET requirepass s3cret").await;
    let with = |login: &str| {
        let url = server.url().replace("redis://", &format!("redis://{login}"));
        Config { url: url.parse().unwrap(), ..config(&server) }
    };
    let error = RedisLog::connect(with("")).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("auth"), "{error}");
    let error = RedisLog::connect(with(":wrong@")).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("password") && !error.contains("wrong"), "{error}");
    let log = open(with(":s3cret@")).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
}

#[tokio::test]
async fn a_server_in_another_mode_than_the_url_says_is_refused() {
    let cluster = Server::with(&["--cluster-enabled", "yes"]).await;
    let error = RedisLog::connect(config(&cluster)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Mode { .. }), "{error}");
    let single = Server::start().await;
    let url = single.url().replace("redis://", "redis+cluster://");
    let error = RedisLog::connect(Config::new(url.parse().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("cluster support disabled"), "{error}");
}

#[tokio::test]
async fn a_server_that_may_evict_is_refused_and_an_open_log_tells_of_it() {
    let server = Server::start().await;
    let calm = RedisLog::new(config(&server));
    let stats = calm.stats();
    eventually("the log has looked at the memory", || stats.memory().used > 0).await;
    // Without a bound of its memory it evicts nothing, whatever its policy is.
    server.words::<()>("CONFIG SET maxmemory-policy volatile-lru").await;
    RedisLog::connect(config(&server)).await.unwrap();
    server.words::<()>("CONFIG SET maxmemory 100mb").await;
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        server.words::<()>(&format!("CONFIG SET maxmemory-policy {policy}")).await;
        let error = RedisLog::connect(config(&server)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Evicts { .. }), "{error}");
        assert!(error.to_string().contains(policy), "{error}");
    }
    let open = RedisLog::new(config(&server));
    let stats = open.stats();
    eventually("the policy is seen", || stats.evicts()).await;
    server.words::<()>("CONFIG SET maxmemory-policy noeviction").await;
    RedisLog::connect(config(&server)).await.unwrap();
    assert!(!calm.stats().evicts());
}

#[tokio::test]
async fn a_log_opened_before_its_server_works_once_the_server_is_up() {
    let mut server = Server::start().await;
    server.kill();
    let log = RedisLog::new(Config { timeout: Duration::from_millis(200), ..config(&server) });
    let stats = log.stats();
    let t = topic("t");
    assert!(matches!(try_append(&log, event(&t, "0")).await, Err(AppendError::Unavailable(_))));
    assert!(log.tail(&t).await.is_err());
    assert!(!stats.connected());
    server.restart().await;
    eventually("the feed is up", || stats.connected()).await;
    let mut reader = Reader::latest(&log, &t).await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
}

#[tokio::test]
async fn a_closed_log_leaves_no_task_and_no_connection() {
    let server = Server::start().await;
    let dropped = open(config(&server)).await;
    let closed = open(config(&server)).await;
    let tail = closed.tail(&topic("t")).await.unwrap();
    closed.shutdown().await;
    assert!(closed.tail(&topic("u")).await.is_err());
    drop((closed, dropped));
    loop {
        let clients: String = server.words("CLIENT LIST").await;
        // The connection that asks remains.
        if clients.lines().count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(tail.head(), event_log::Position::START);
}
