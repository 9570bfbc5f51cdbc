//! A log that becomes unreachable while clients are connected.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gateway::Config;
use tokio::time::{sleep, timeout};

use crate::log::{Mood, Publish as _, Remote};
use crate::node::Node;

#[tokio::test]
async fn clients_stay_connected_while_the_log_is_unreachable_and_lose_nothing() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let remote = Remote::new();
        let config = Config { heartbeat: Duration::from_millis(40), ..Config::default() };
        let node = Node::on(config, remote.memory.clone(), remote.clone()).await;
        remote.publish_numbers("t", 0..50).await;
        let mut streams = Vec::new();
        for query in ["topic=t&from=-10", "topic=t&topic=u&from=-10"] {
            let mut stream = node.subscribe(query).await;
            stream.ready().await;
            stream.data(10).await;
            streams.push(stream);
        }

        remote.goes_away(mood);
        remote.memory.publish_numbers("t", 50..150).await;
        for stream in &mut streams {
            let silent = timeout(Duration::from_millis(400), stream.try_event()).await;
            assert!(silent.is_err(), "{:?}", silent.unwrap());
            let body = String::from_utf8(stream.body.clone()).unwrap();
            let heartbeats =
                body.bytes().rev().take_while(|byte| b":\n".contains(byte)).count() / 2;
            assert!(heartbeats >= 3, "{body:?}");
        }

        remote.comes_back().await;
        remote.publish_numbers("t", 150..160).await;
        for stream in &mut streams {
            let expected: Vec<_> = (50..160).map(|number| number.to_string()).collect();
            assert_eq!(stream.data(110).await, expected, "{mood:?}");
        }
        node.until("tailwater_connections", 2.0).await;
    }
}

#[tokio::test]
async fn a_replay_continues_where_the_log_became_unreachable() {
    let remote = Remote::new();
    remote.publish_numbers("t", 0..900).await;
    let node = Node::on(Config::default(), remote.memory.clone(), remote.clone()).await;
    let mut stream = node.subscribe("topic=t&from=earliest").await;
    remote.goes_away(Mood::Fails);
    let healer = async {
        sleep(Duration::from_millis(200)).await;
        remote.comes_back().await;
    };
    let reader = async {
        stream.ready().await;
        let expected: Vec<_> = (0..900).map(|number| number.to_string()).collect();
        assert_eq!(stream.data(900).await, expected);
    };
    tokio::join!(healer, reader);
}

/// A pending read occupies a connection to the log. If the client does not read its heartbeat, nothing
/// polls that read, and it would occupy the connection for as long as the client stalls.
#[tokio::test]
async fn a_heartbeat_drops_the_read_under_way() {
    let remote = Remote::new();
    let config = Config { heartbeat: Duration::from_millis(40), ..Config::default() };
    let node = Node::on(config, remote.memory.clone(), remote.clone()).await;
    let mut stream = node.subscribe("topic=t").await;
    stream.ready().await;
    remote.goes_away(Mood::Hangs);
    remote.memory.publish_numbers("t", 0..50).await;
    remote.move_tails().await;
    let silent = timeout(Duration::from_millis(400), stream.try_event()).await;
    assert!(silent.is_err(), "{:?}", silent.unwrap());
    let [begun, ended] = [0, 1].map(|i| remote.reads[i].load(Relaxed));
    assert!(begun >= 3, "each heartbeat of 400 ms begins the read anew: {begun}");
    assert_eq!(begun, ended + 1, "at most one read of a client is under way");
}
