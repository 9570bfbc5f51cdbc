//! Traces, checked at a receiver of OTLP.

pub(crate) mod receiver;

use std::collections::BTreeSet;

use loadtest::client::http;
use loadtest::client::sse::Connection;
use loadtest::machine::{Redis, Tailwater};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tokio::process::Command;

use crate::cli::Cli;
use crate::support::{gateway, ingest, serve, until};
use receiver::{Receiver, Span};

/// The publisher's trace, and the span of its request.
const PUBLISHER: &str = "7075626c697368657227732074726163-00f067aa0ba902b7";
/// The subscriber's trace, and the span of its request.
const SUBSCRIBER: &str = "73756273637269626572277320747261-00f067aa0ba902b8";

fn traceparent(id: &str, flags: &str) -> String {
    format!("00-{id}-{flags}")
}

async fn publish(node: &Tailwater, topic: &str, traceparent: &str) -> Value {
    let headers = [("traceparent", traceparent)];
    let path = format!("/v1/events?topic={topic}");
    let response = http::Client::new(node.addr()).post(&path, &headers, "x").await.unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json().unwrap()
}

async fn subscribe(node: &Tailwater, query: &str, headers: &[(&str, &str)]) -> Connection {
    let path = format!("/v1/events?{query}");
    let mut stream = Connection::open(node.addr(), &path, headers).await.unwrap();
    assert_eq!(stream.next_event().await.unwrap().event_type(), "tailwater.ready");
    stream
}

fn attributes<'a>(span: &'a Span, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| span.attributes.get(*name).map_or("", |value| value)).collect()
}

#[tokio::test]
async fn the_span_of_a_delivery_belongs_to_the_publishers_trace_and_links_its_span() {
    let (receiver, redis) = (Receiver::start().await, Redis::start().await.unwrap());
    let traced = |node| gateway(&redis, node).flag("--otlp-endpoint", receiver.endpoint());
    let mut ingest = ingest(&redis)
        .node("ingest")
        .flag("--otlp-endpoint", receiver.endpoint())
        .start()
        .await
        .unwrap();
    let mut gateways =
        [traced("gw-1").start().await.unwrap(), traced("gw-2").start().await.unwrap()];
    let own = traceparent(SUBSCRIBER, "01");
    let mut readers = vec![
        subscribe(&gateways[0], "topic=t", &[]).await,
        subscribe(&gateways[0], "topic=t", &[]).await,
        subscribe(&gateways[0], "topic=t&envelope=json", &[]).await,
        subscribe(&gateways[1], "topic=t&topic=u", &[("traceparent", &own)]).await,
    ];
    let receipt = publish(&ingest, "t", &traceparent(PUBLISHER, "01")).await;
    let mut delivered = Vec::new();
    for reader in &mut readers {
        delivered.push(reader.next_event().await.unwrap().data);
    }
    drop(readers);
    // The node exports its last spans when it stops.
    assert!(ingest.terminate().await.unwrap().success());
    for gateway in &mut gateways {
        assert!(gateway.terminate().await.unwrap().success());
    }

    let [publish] = &receiver.spans("publish")[..] else { panic!("one publish, one span") };
    assert_eq!((publish.service.as_str(), publish.node.as_str()), ("tailwater", "ingest"));
    assert_eq!((publish.parent.as_str(), publish.kind), (PUBLISHER, SpanKind::Server));
    assert_eq!(attributes(publish, &["topic", "status"]), ["t", "200"]);

    // One span for each node, for any number of readers and forms.
    let delivers = receiver.spans("deliver");
    let nodes: BTreeSet<_> = delivers.iter().map(|span| span.node.as_str()).collect();
    assert_eq!((delivers.len(), nodes), (2, BTreeSet::from(["gw-1", "gw-2"])));
    for deliver in &delivers {
        assert_eq!((&deliver.parent, deliver.kind), (&publish.id, SpanKind::Consumer));
        assert_eq!(deliver.links, [publish.id.as_str()]);
        let id = receipt["id"].as_str().unwrap();
        assert_eq!(attributes(deliver, &["topic", "id"]), ["t", id]);
    }
    // The envelope carries the trace, so a client can continue it.
    let envelope: Value = serde_json::from_str(&delivered[2]).unwrap();
    assert_eq!(envelope["traceparent"], traceparent(&publish.id, "01"));

    let connects = receiver.spans("connect");
    assert_eq!(connects.len(), 4);
    let [of_subscriber] = &connects.iter().filter(|c| c.node == "gw-2").collect::<Vec<_>>()[..]
    else {
        panic!("one subscriber on gw-2")
    };
    assert_eq!((of_subscriber.parent.as_str(), of_subscriber.kind), (SUBSCRIBER, SpanKind::Server));
    let described = attributes(of_subscriber, &["topics", "form", "resume", "outcome"]);
    assert_eq!(described, ["2", "sse", "none", "live"]);
}

#[tokio::test]
async fn the_span_of_a_connect_has_the_outcome_of_the_cursor() {
    let receiver = Receiver::start().await;
    let node = serve().flag("--otlp-endpoint", receiver.endpoint()).flag("--max-connections", "1");
    let mut node = node.start().await.unwrap();
    let id = crate::support::publish(node.addr(), "t", "x").await;
    let json = ("accept", "application/json");
    let mut poll = http::Client::new(node.addr());
    let mut poll = async |query: &str| {
        let path = format!("/v1/events?topic=t{query}");
        poll.request("GET".parse().unwrap(), &path, &[json], Default::default()).await.unwrap()
    };
    poll(&format!("&last_event_id={id}")).await;
    let stream = subscribe(&node, "topic=t", &[("last-event-id", "garbage")]).await;
    assert_eq!(poll("").await.status, 429);
    drop(stream);
    assert!(node.terminate().await.unwrap().success());
    let described: Vec<_> = receiver
        .spans("connect")
        .iter()
        .map(|span| attributes(span, &["form", "resume", "outcome"]).join(" "))
        .collect();
    assert_eq!(
        described,
        ["long_poll query exact", "sse header invalid", "long_poll none overload"]
    );
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_makes_no_spans_but_is_propagated() {
    let receiver = Receiver::start().await;
    let node = serve().flag("--otlp-endpoint", receiver.endpoint()).flag("--otlp-ratio", "0");
    let mut node = node.start().await.unwrap();
    let unsampled = traceparent(PUBLISHER, "00");
    let mut stream = subscribe(&node, "topic=t&envelope=json", &[]).await;
    publish(&node, "t", &unsampled).await;
    crate::support::publish(node.addr(), "t", "without a trace").await;
    let mut carried = Vec::new();
    for _ in 0..2 {
        let data = stream.next_event().await.unwrap().data;
        carried.push(serde_json::from_str::<Value>(&data).unwrap()["traceparent"].take());
    }
    assert_eq!(carried, [Value::from(unsampled), Value::Null]);
    // The last event is sampled: when its span arrives, all earlier spans have arrived.
    publish(&node, "t", &traceparent(PUBLISHER, "01")).await;
    stream.next_event().await.unwrap();
    drop(stream);
    assert!(node.terminate().await.unwrap().success());
    assert_eq!((receiver.spans("publish").len(), receiver.spans("deliver").len()), (1, 1));
    assert!(receiver.spans("connect").is_empty());
}

#[tokio::test]
async fn a_streamed_body_is_one_span_that_is_exported_before_the_body_ends() {
    let receiver = Receiver::start().await;
    let node = serve()
        .flag("--otlp-endpoint", receiver.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await
        .unwrap();
    let mut reader = subscribe(&node, "topic=t", &[]).await;
    let mut command = Command::new("curl");
    let url = format!("http://{}/v1/events?topic=t", node.addr());
    command.args(["-q", "-sS", "-N", "--noproxy", "*", "-T", "."]);
    command.args(["-H", "content-type: text/event-stream"]);
    command.args(["-H", &format!("traceparent: {}", traceparent(PUBLISHER, "01")), &url]);
    let mut upload = Cli::start_command(command);
    for data in ["first", "second"] {
        upload.write(format!("data: {data}\n\n")).await;
        upload.line().await;
        assert_eq!(reader.next_event().await.unwrap().data, data);
    }
    // The spans are exported although the body has not ended.
    until("the spans are there", async || receiver.spans("deliver").len() == 2).await;
    let [publish] = &receiver.spans("publish")[..] else { panic!("one request, one span") };
    assert_eq!(publish.parent, PUBLISHER);
    for deliver in receiver.spans("deliver") {
        assert_eq!(deliver.parent, publish.id);
    }
}

#[tokio::test]
async fn the_variables_of_opentelemetry_are_followed() {
    let receiver = Receiver::start().await;
    let node = |headers| {
        serve()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
            .env("OTEL_EXPORTER_OTLP_HEADERS", headers)
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
            .env("OTEL_SERVICE_NAME", "live-updates")
    };
    let mut gate = node("api-key=wrong").start().await.unwrap();
    publish(&gate, "t", &traceparent(PUBLISHER, "01")).await;
    assert!(gate.terminate().await.unwrap().success());
    assert_eq!(receiver.spans("publish"), []);
    assert!(gate.log().contains("traces are not exported"), "{}", gate.log());

    let mut open = node("api-key=s3cret").start().await.unwrap();
    publish(&open, "t", &traceparent(PUBLISHER, "01")).await;
    assert!(open.terminate().await.unwrap().success());
    let [span] = &receiver.spans("publish")[..] else { panic!("one publish, one span") };
    assert_eq!(span.service, "live-updates");

    // A sampler of the variables, and none of the flags.
    let none = node("api-key=s3cret").env("OTEL_TRACES_SAMPLER", "always_off");
    let mut none = none.start().await.unwrap();
    publish(&none, "t", &traceparent(PUBLISHER, "01")).await;
    assert!(none.terminate().await.unwrap().success());
    assert_eq!(receiver.spans("publish").len(), 1);

    let refused = node("").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").start().await;
    let refused = format!("{:#}", refused.unwrap_err());
    assert!(refused.contains("http/protobuf"), "{refused}");
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told_of_once_and_its_spans_are_counted() {
    let gone = Receiver::start().await;
    let address = gone.endpoint().trim_start_matches("http://").parse().unwrap();
    let node = serve()
        .flag("--otlp-endpoint", gone.endpoint() + "/v1/traces")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await
        .unwrap();
    let metric = async |name: &str| {
        let metrics = node.metrics().await.unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap().parse::<f64>().unwrap()
    };
    publish(&node, "t", &traceparent(PUBLISHER, "01")).await;
    until("the receiver took it", async || metric("tailwater_traces_exported_total").await > 0.0)
        .await;
    assert!(metric("tailwater_traces_exporting").await > 0.0);
    drop(gone);
    for i in 1..=2 {
        publish(&node, "t", &traceparent(PUBLISHER, "01")).await;
        until("it is lost", async || {
            metric("tailwater_traces_dropped_total").await >= f64::from(i)
        })
        .await;
    }
    assert!(metric("tailwater_traces_exporting").await < 1.0);
    assert_eq!(node.log().matches("traces are not exported").count(), 1, "{}", node.log());

    let back = Receiver::at(address).await;
    publish(&node, "t", &traceparent(PUBLISHER, "01")).await;
    until("it is taken again", async || !back.spans("publish").is_empty()).await;
    until("it is counted", async || metric("tailwater_traces_exporting").await > 0.0).await;
    assert!(node.log().contains("traces are exported again"), "{}", node.log());
}
