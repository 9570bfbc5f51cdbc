//! `tailwater relay --config`: the states of sources, on any node.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use loadtest::client::http;
use loadtest::machine::{Redis, Tailwater};
use serde_json::Value;

use crate::support::{TAILWATER, gateway, until};

/// A broker of MQTT, killed when it is dropped.
struct Mosquitto(Child, String);

impl Mosquitto {
    async fn start() -> Self {
        let port = unused_port();
        let process = Command::new("mosquitto")
            .args(["-p", &port])
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed: scripts/setup");
        let broker = Self(process, port);
        until("mosquitto listens", async || broker.publish("none", "x")).await;
        broker
    }

    fn publish(&self, topic: &str, data: &str) -> bool {
        let published = Command::new("mosquitto_pub")
            .args(["-p", &self.1, "-q", "1", "-t", topic, "-m", data])
            .output()
            .expect("mosquitto_pub is installed: scripts/setup");
        published.status.success()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // A broker that has ended already is as good.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn unused_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

async fn states(node: &Tailwater) -> Vec<Value> {
    let answer = http::get(node.admin_addr(), "/debug/sources").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

#[tokio::test]
async fn any_node_shows_the_sources_of_all_relays_and_no_stranger_sees_them() {
    let redis = Redis::start().await.unwrap();
    let broker = Mosquitto::start().await;
    let (port, nobody) = (&broker.1, unused_port());
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("relay.toml");
    let text = format!(
        "[source.away]\ntopic = 'a'\nmqtt = {{ url = 'mqtt://127.0.0.1:{nobody}', filters = ['#'] }}\n\
        [source.strict]\ntopic = 's/{{topic}}'\n\
        mqtt = {{ url = 'mqtt://127.0.0.1:{port}', filters = ['s/#'] }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut relay =
        Tailwater::copier(TAILWATER, &config).redis(&redis).node("relay-1").start().await.unwrap();
    let gateway = gateway(&redis, "gateway-1").start().await.unwrap();
    until("the source is copied, and stopped by what is no topic", async || {
        broker.publish("s/no topic", "x");
        states(&gateway).await.iter().any(|state| state["state"] == "stopped")
    })
    .await;
    let found = states(&gateway).await;
    let [away, strict] = &found[..] else { panic!("{found:?}") };
    let named = |state: &Value, field: &str| state[field].as_str().unwrap().to_owned();
    assert_eq!([named(away, "source"), named(away, "kind")], ["away", "mqtt"]);
    assert!(named(away, "node").starts_with("relay-1/"), "{away}");
    assert!(named(away, "error").contains(&nobody), "{away}");
    assert!(named(strict, "error").contains("must not contain ' '"), "{strict}");

    let mut http = http::Client::new(gateway.admin_addr());
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let page = http.request("GET".parse().unwrap(), "/debug/sources", &browser, "".into()).await;
    let page = page.unwrap();
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
    );
    assert!(page.text().contains("<td>strict<td>mqtt<td class=\"bad\">stopped"), "{}", page.text());

    // The state of a source that is stopped goes on being told, and stays when the relay is gone.
    let first = strict["time_ms"].as_u64().unwrap();
    until("the state is told again", async || {
        let found = states(&gateway).await;
        found
            .iter()
            .any(|state| state["source"] == "strict" && state["time_ms"].as_u64() > Some(first))
    })
    .await;
    relay.kill_nine().unwrap();
    assert_eq!(states(&gateway).await.len(), 2);

    // Neither the public port nor a subscription shows them.
    for path in ["/debug/sources", "/v1/sources"] {
        assert_eq!(http::get(gateway.addr(), path).await.unwrap().status, 404, "{path}");
    }
    let topic = "/v1/events?topic=tailwater.sources&from=earliest";
    assert_eq!(http::get(gateway.addr(), topic).await.unwrap().status, 400);
}
