//! Presence: the members of topics, and the news of those who join and leave.

use std::sync::Arc;
use std::time::Duration;

use ::access::{Access, Machines, Patterns, Rights, Settings, machine_hash};
use ::metrics::Registry;
use gateway::Config;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::Response;
use crate::log::Publish as _;
use crate::node::Node;

/// The retry of these nodes: their grace is three seconds.
const RETRY: Duration = Duration::from_millis(500);

/// A node whose rooms have presence.
struct Rooms {
    node: Node,
    reports: JoinHandle<()>,
}

impl Rooms {
    async fn start() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let presence = Patterns::new(["room/**"]).unwrap();
        let node = Node::with(Config { presence, retry: RETRY, ..config }).await;
        let gateway = node.gateway.clone();
        let reports = tokio::spawn(async move { gateway.report_presence().await });
        Self { node, reports }
    }

    /// A node where ann may see the members, and bob may not; anybody may subscribe.
    async fn closed() -> Self {
        let subscribe = Patterns::new(["room/**", "user/{sub}"]).unwrap();
        let everybody = Arc::new(Rights { subscribe, ..Rights::default() });
        let line = |subject: &str, rights: &str| {
            format!("{} {subject} {rights}\n", machine_hash(&format!("token-of-{subject}")))
        };
        let ann = r#"{"presence":["room/*"],"member":{"name":"Ann","tags":["a\nb"]}}"#;
        let machines = line("ann", ann) + &line("bob", "{}");
        let settings = Settings {
            machines: Machines::parse(&machines, &everybody).unwrap(),
            everybody,
            ..Settings::default()
        };
        let access = Access::closed(settings, &Registry::new());
        Self::with(Config { access, ..Config::default() }).await
    }

    async fn as_party(&self, subject: &str, line: &str) -> Response {
        let bearer = format!("Bearer token-of-{subject}");
        self.node.request(line, &[("authorization", bearer.as_bytes())]).await
    }

    async fn get(&self, path: &str) -> Value {
        let mut response = self.node.request(&format!("GET {path}"), &[]).await;
        assert_eq!(response.status, 200, "{}", response.head);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        response.json().await
    }

    /// Waits until a topic has so many members.
    async fn count(&self, topic: &str, count: u64) {
        let path = format!("/v1/topics/{topic}/subscribers");
        for _ in 0..200 {
            if self.get(&path).await["count"] == count {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{topic} has {}, not {count}", self.get(&path).await);
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

fn clients(list: &Value) -> Vec<&str> {
    let all = list["members"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let mut names: Vec<_> = all.iter().map(|one| one["client"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn members_are_listed_and_news_have_the_cursor_as_their_id() {
    let rooms = Rooms::start().await;
    let _ann = rooms.node.subscribe("topic=room/1&client=ann").await;
    rooms.count("room/1", 1).await;
    let mut bob = rooms.node.subscribe("topic=room/1&topic=news&client=bob&presence=1").await;
    assert_eq!(bob.ready().await, "live");
    let (first, list) = bob.control("presence").await;
    assert_eq!(
        (clients(&list), &list["more"], &list["topic"]),
        (vec!["ann"], &false.into(), &"room/1".into())
    );
    let (_, own) = bob.control("join").await;
    assert_eq!((clients(&own), &own["count"], &own["joined"]), (vec!["bob"], &2.into(), &1.into()));

    rooms.node.log.publish("room/1", "hello").await;
    let event = bob.event().await;
    assert_eq!(event.data, "hello");
    assert_ne!(event.id, first.id);
    let cid = rooms.node.subscribe("topic=room/1&client=cid").await;
    let (joined, _) = bob.control("join").await;
    assert_eq!(joined.id, event.id, "news do not move the cursor");
    drop(cid);
    let (left, gone) = bob.control("leave").await;
    assert_eq!(
        (clients(&gone), &gone["count"], &gone["left"]),
        (vec!["cid"], &2.into(), &1.into())
    );
    assert_eq!(left.id, event.id);

    // The id is the cursor of both topics: nothing is lost or doubled after it.
    rooms.node.log.publish("news", "extra").await;
    let mut again = rooms.node.resume("topic=room/1&topic=news&client=bob", left.id).await;
    assert_eq!(again.ready().await, "exact");
    assert_eq!(again.data(1).await, ["extra"]);
    let list = rooms.get("/v1/topics/room/1/subscribers").await;
    assert_eq!(clients(&list), ["ann", "bob"]);
    let member = &list["members"][0];
    assert_eq!(member["id"].as_str().unwrap().len(), 32);
    assert_eq!(member["node"], "tailwater");
    assert!(member["since"].as_str().unwrap().ends_with('Z'), "{member}");
    assert_eq!(rooms.get("/v1/topics/room%2F1/subscribers").await["count"], 2);
}

#[tokio::test]
async fn a_client_that_reconnects_does_not_flicker_and_two_tabs_are_one_member() {
    let rooms = Rooms::start().await;
    let mut watcher = rooms.node.subscribe("topic=room/1&client=watcher&presence=1").await;
    watcher.ready().await;
    watcher.control("presence").await;
    watcher.control("join").await;
    let tab = rooms.node.subscribe("topic=room/1&client=ann").await;
    watcher.control("join").await;
    let other = rooms.node.subscribe("topic=room/1&client=ann").await;
    for stream in [tab, other] {
        drop(stream);
        sleep(RETRY * 3).await;
        drop(rooms.node.subscribe("topic=room/1&client=ann").await);
    }
    let (_, gone) = watcher.control("leave").await;
    assert_eq!(clients(&gone), ["ann"]);
    // A poller is there while it polls.
    let poll = "topic=room/1&client=poll&wait=1";
    rooms.node.poll(poll).await;
    watcher.control("join").await;
    rooms.node.poll(poll).await;
    rooms.node.poll("topic=room/1").await;
    let (_, gone) = watcher.control("leave").await;
    assert_eq!((clients(&gone), &gone["count"]), (vec!["poll"], &1.into()));
}

#[tokio::test]
async fn the_count_is_for_subscribers_and_the_list_for_those_with_the_right() {
    let rooms = Rooms::closed().await;
    let mut ann = rooms.as_party("ann", "GET /v1/events?topic=room/1&presence=1").await;
    let mut bob = rooms.as_party("bob", "GET /v1/events?topic=room/1&presence=1").await;
    ann.ready().await;
    bob.ready().await;
    rooms.count("room/1", 2).await;
    ann.control("presence").await;
    let mut members = Vec::new();
    while members.len() < 2 {
        let (_, joined) = ann.control("join").await;
        members.extend(joined["members"].as_array().unwrap().iter().cloned());
    }
    let own = members.iter().find(|member| member["subject"] == "ann").unwrap();
    assert_eq!(own["payload"]["name"], "Ann");
    assert_eq!(own["payload"]["tags"][0], "a\nb");
    let (_, first) = bob.control("presence").await;
    let mut count = first["count"].as_u64().unwrap();
    let without_list = |told: &Value| {
        assert!(told.get("members").is_none() && told["topic"] == "room/1", "{told}");
    };
    without_list(&first);
    while count < 2 {
        let (_, joined) = bob.control("join").await;
        without_list(&joined);
        count += joined["joined"].as_u64().unwrap();
        assert_eq!(joined["count"], count);
    }
    let list = "GET /v1/topics/room/1/subscribers";
    let seen = rooms.as_party("ann", list).await.json().await;
    assert_eq!(seen["members"].as_array().unwrap().len(), 2);
    let seen = rooms.as_party("bob", list).await.json().await;
    assert_eq!(seen.to_string(), r#"{"count":2,"topic":"room/1"}"#);
    // A pattern counts the topics that the party may read.
    let counts = rooms.as_party("bob", "GET /v1/subscribers?topic=room/*").await.json().await;
    let expected = r#"{"count":2,"more":false,"pattern":"room/*","topics":{"room/1":2}}"#;
    assert_eq!(counts.to_string(), expected);
    let refused = rooms.as_party("eve", list).await;
    assert_eq!(refused.status, 401);
    let refused = rooms.as_party("eve", "GET /v1/subscribers?topic=**").await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let rooms = Rooms::start().await;
    let plain = Node::start().await;
    let cases = [
        ("GET /v1/events?topic=news&presence=1", 400, "\\\"news\\\" has no presence"),
        ("GET /v1/events?topic=room/1&presence=yes", 400, "1 or 0"),
        ("GET /v1/events?topic=room/1&presence=1&control=off", 400, "control=off"),
        ("GET /v1/events?topic=room/1&client=a%20b", 400, "1 to 64"),
        ("GET /v1/topics/room/1/subscribers?limit=1", 400, "limit"),
        ("GET /v1/subscribers", 400, "no topic"),
        ("GET /v1/subscribers?topic=a&topic=b", 400, "topic"),
        ("GET /v1/subscribers?topic=a*", 400, "wildcard"),
        ("DELETE /v1/subscribers?topic=a", 405, ""),
    ];
    for (line, status, named) in cases {
        let mut response = rooms.node.request(line, &[]).await;
        let text = response.text().await;
        assert_eq!(response.status, status, "{line}: {text}");
        assert!(text.contains(named), "{line}: {text}");
    }
    let mut polled = rooms.node.poll("topic=room/1&presence=1").await;
    assert!(polled.text().await.contains("long-poll"));
    let mut off = plain.request("GET /v1/subscribers?topic=a", &[]).await;
    assert_eq!((off.status, off.text().await.contains("--presence")), (404, true));
    assert_eq!(plain.request("GET /v1/topics/room/1/subscribers", &[]).await.status, 404);
    assert_eq!(rooms.node.request("GET /v1/topics/news/subscribers", &[]).await.status, 404);
}

#[tokio::test]
async fn a_stream_of_comments_has_news_as_comments() {
    let rooms = Rooms::start().await;
    let mut stream =
        rooms.node.subscribe("topic=room/1&client=ann&presence=1&control=comment").await;
    rooms.count("room/1", 1).await;
    rooms.node.log.publish("room/1", "hello").await;
    assert_eq!(stream.data(1).await, ["hello"]);
    let text = String::from_utf8_lossy(&stream.body).into_owned();
    assert!(text.contains(": tailwater.presence {\"count\":0"), "{text}");
    assert!(text.contains(": tailwater.join {\"count\":1"), "{text}");
}
