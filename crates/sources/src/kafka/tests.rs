//! Copies of the topics of a real broker. They need `scripts/setup-kafka`, so `make kafka` runs them.

mod broker;

use krafka::Record;
use tokio::time::sleep;

use self::broker::Broker;
use crate::config::Config;
use crate::source::{Failure, Item};
use crate::stage::{Stage, numbers};

/// A stage whose source is the topic `t`.
fn stage(broker: &Broker, lines: &str) -> Stage {
    let brokers = broker.address();
    let kafka = format!("[source.s.kafka]\nbrokers = [{brokers:?}]\ntopic-name = 't'\n");
    let (common, own) = lines.split_once("---").unwrap_or(("topic = 't'", lines));
    Stage::new(&format!("[source.s]\n{common}\n{kafka}{own}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn ten_thousand_records_are_copied_once_though_relay_and_broker_are_killed() {
    let mut broker = Broker::start().await;
    let stage = stage(&broker, "");
    let kafka = broker.connect().await;
    let writer = tokio::spawn(async move {
        // It writes again what was not answered, and the broker knows it again.
        let producer = kafka.producer().build().await.unwrap();
        let mut answers = Vec::new();
        for n in 1..=10_000 {
            let record = Record::new("t", n.to_string()).partition(0);
            answers.push(producer.enqueue(record).await.unwrap());
            if n % 50 == 0 {
                sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        for answer in answers {
            assert!(answer.await.is_ok());
        }
    });
    for round in 0..6 {
        let relay = stage.part(Some(0));
        stage.events("t", 1_000 * (round + 1)).await;
        drop(relay);
        if round % 3 == 1 {
            let relay = stage.part(Some(0));
            broker.kill();
            broker.restart().await;
            stage.events("t", 1_000 * (round + 1) + 100).await;
            drop(relay);
        }
    }
    let _relay = stage.part(Some(0));
    writer.await.unwrap();
    let copied = stage.entries("t", 10_000).await;
    assert!(copied == numbers(1, 10_000), "the copy differs from the topic");
    assert_eq!((stage.snapshot().copied, stage.snapshot().missed), (10_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn the_number_of_records_that_were_removed_meanwhile_is_exact() {
    let broker = Broker::start().await;
    let stage = stage(&broker, "");
    let relay = stage.part(Some(0));
    broker.write(0, 1, 50).await;
    stage.events("t", 50).await;
    drop(relay);
    broker.write(0, 51, 250).await;
    broker.trim(150).await;
    let relay = stage.part(Some(0));
    let entries = stage.entries("t", 151).await;
    assert_eq!(entries[50], "Broken(Missing)");
    assert_eq!(entries[51..], numbers(151, 250));
    assert_eq!(stage.snapshot().missed, 100);
    drop(relay);
    // The gap is told once.
    let _relay = stage.part(Some(0));
    broker.write(0, 251, 251).await;
    assert_eq!(stage.entries("t", 152).await[151], "251");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn a_topic_that_was_made_again_is_read_from_its_first_record() {
    let broker = Broker::start().await;
    let stage = stage(&broker, "");
    let relay = stage.part(Some(0));
    broker.write(0, 1, 20).await;
    stage.events("t", 20).await;
    // Under the reader, with more records.
    broker.delete().await;
    broker.make().await;
    broker.write(0, 101, 130).await;
    let mut expected = numbers(1, 20);
    expected.push("Broken(Missing)".to_owned());
    expected.extend(numbers(101, 130));
    assert_eq!(stage.entries("t", 51).await, expected);
    drop(relay);
    // While nobody reads, with fewer.
    broker.delete().await;
    broker.make().await;
    broker.write(0, 201, 205).await;
    let _relay = stage.part(Some(0));
    expected.push("Broken(Missing)".to_owned());
    expected.extend(numbers(201, 205));
    assert_eq!(stage.entries("t", 57).await, expected);
}

/// As after a power cut: the broker has answered for records that were in no file yet.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn records_at_offsets_that_the_log_has_lost_are_copied() {
    let mut broker = Broker::start().await;
    let stage = stage(&broker, "");
    let relay = stage.part(Some(0));
    broker.write(0, 1, 40).await;
    stage.events("t", 40).await;
    let (log, saved) = (broker.logs().join("t-0"), broker.dir.path().join("saved"));
    broker.kill();
    copy(&log, &saved);
    broker.restart().await;
    broker.write(0, 41, 60).await;
    stage.events("t", 60).await;
    drop(relay);
    broker.kill();
    std::fs::remove_dir_all(&log).unwrap();
    copy(&saved, &log);
    broker.restart().await;
    broker.write(0, 1001, 1040).await;
    let _relay = stage.part(Some(0));
    let mut expected = numbers(1, 60);
    expected.push("Broken(Missing)".to_owned());
    expected.extend(numbers(1001, 1040));
    assert_eq!(stage.entries("t", 101).await, expected);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn records_of_transactions_are_copied_when_they_are_committed() {
    let broker = Broker::start().await;
    let stage = stage(&broker, "");
    let relay = stage.part(Some(0));
    let kafka = broker.connect().await;
    let producer = kafka.producer().build_transactional("x").await.unwrap();
    let send = async |from: u64, to: u64| {
        for n in from..=to {
            assert!(producer.send(Record::new("t", n.to_string()).partition(0)).await.is_ok());
        }
    };
    producer.begin().unwrap();
    send(1, 3).await;
    producer.commit().await.unwrap();
    producer.begin().unwrap();
    send(101, 103).await;
    producer.abort().await.unwrap();
    // Behind the marks nothing is left to read, and the place is there.
    stage.until(|snapshot| snapshot.copied == 3 && snapshot.lag_events == Some(0)).await;
    producer.begin().unwrap();
    send(4, 6).await;
    broker.write(0, 7, 7).await;
    drop(relay);
    let relay = stage.part(Some(0));
    sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(stage.entries("t", 3).await, numbers(1, 3), "7 is behind what is open");
    producer.commit().await.unwrap();
    assert_eq!(stage.entries("t", 7).await, numbers(1, 7));
    drop(relay);
    let _relay = stage.part(Some(0));
    broker.write(0, 8, 8).await;
    assert_eq!(stage.entries("t", 8).await, numbers(1, 8));
    assert_eq!(stage.snapshot().gaps, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn a_partition_that_is_added_is_read_from_its_start() {
    let broker = Broker::start().await;
    broker.write(0, 1, 5).await;
    let brokers = broker.address();
    let text = format!(
        "[source.s]\ntopic = '{{partition}}'\ngap-topic = 'g'\n\
        kafka = {{ brokers = [{brokers:?}], topic-name = 't', begin = 'new' }}"
    );
    let kind = Config::parse(&text).unwrap().sources["s"].kind.clone();
    assert_eq!(kind.parts().await, Ok(Some(1)));
    broker.widen(2).await;
    broker.write(1, 11, 12).await;
    assert_eq!(kind.parts().await, Ok(Some(2)));
    let mut old = kind.source(Some(0)).open(None).await.unwrap();
    let first = old.next().await.unwrap();
    assert!(matches!(&first[..], [Item::Passed(place)] if place.major == 5), "{first:?}");
    let mut added = kind.source(Some(1)).open(None).await.unwrap();
    let first = added.next().await.unwrap();
    assert!(matches!(&first[..], [Item::Passed(place)] if place.major == 0), "{first:?}");
    let records = added.next().await.unwrap();
    assert!(
        matches!(&records[0], Item::Event { topic, .. } if topic.as_str() == "1"),
        "{records:?}"
    );
    let missing = kind.source(Some(2)).open(None).await.err();
    assert!(matches!(missing, Some(Failure::Away(_))), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn records_that_cannot_be_events_are_laid_aside() {
    let broker = Broker::start().await;
    let record = |value: &'static [u8]| Record::new("t", value).partition(0).key("a");
    broker
        .records(vec![
            record(b"1").header("Tailwater-Type", "order"),
            record(b"2").key("no topic"),
            record(b"\xff"),
            record(b"3").header("Tailwater-Type", "two words"),
            Record::tombstone("t", "a").partition(0),
            record(b"4").without_key(),
        ])
        .await;
    let common =
        "topic = 'k/{key}'\ngap-topic = 'g'\non-error = 'dead-letter'\ndead-letter = 'bad'\n---";
    let stage = stage(&broker, common);
    let _relay = stage.part(Some(0));
    let events = stage.events("k/a", 1).await;
    assert_eq!(events[0].kind().map(|kind| kind.as_str()), Some("order"));
    assert_eq!(stage.entries("k/", 1).await, ["4"]);
    let bad = stage.entries("bad", 4).await;
    for (letter, reason) in bad.iter().zip([
        r#"key \"no topic\": a topic's name must not contain ' '"#,
        "the value of 1 bytes is not UTF-8",
        "header Tailwater-Type: an event's type must not contain ' '",
        "it is a tombstone",
    ]) {
        assert!(letter.contains(reason), "{letter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: make kafka"]
async fn the_password_is_proved_and_a_wrong_one_is_refused() {
    let broker = Broker::start().await;
    broker.write(0, 1, 2).await;
    let (port, file) = (broker.locked, broker.dir.path().join("password"));
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let stage = Stage::new(&format!(
            "[source.s]\ntopic = 't'\n[source.s.kafka]\nbrokers = ['127.0.0.1:{port}']\ntopic-name = 't'\n\
            sasl = {{ user = 'u', password-file = {file:?}, mechanism = '{mechanism}' }}"
        ));
        std::fs::write(&file, "hidden\n").unwrap();
        let relay = stage.part(Some(0));
        let error = stage.until(|snapshot| snapshot.error.is_some()).await.error.unwrap();
        assert!(error.contains("uthentication") && !error.contains("hidden"), "{error}");
        drop(relay);
        std::fs::write(&file, "secret\n").unwrap();
        let _relay = stage.part(Some(0));
        assert_eq!(stage.entries("t", 2).await, numbers(1, 2));
    }
}

#[test]
fn mistakes_are_named() {
    let error = |lines: &str| {
        let text =
            format!("[source.s]\ntopic = '{{key}}'\ngap-topic = 'g'\n[source.s.kafka]\n{lines}");
        Config::parse(&text).unwrap_err().to_string()
    };
    for (lines, part) in [
        ("brokers = []\ntopic-name = 't'", "kafka.brokers has 0 brokers; it must have 1 to 16"),
        ("brokers = ['h']\ntopic-name = 't'", "kafka.brokers has \"h\"; it must be HOST:PORT"),
        ("brokers = ['u@h:1']\ntopic-name = 't'", "it must be HOST:PORT"),
        ("brokers = ['h:1']\ntopic-name = 'a b'", "kafka.topic-name = \"a b\""),
        ("brokers = ['h:1']\ntopic-name = 't'\nbegin = 'now'", "now"),
        (
            "brokers = ['h:1']\ntopic-name = 't'\nsasl = { user = '', password-file = 'f' }",
            "kafka.sasl.user",
        ),
        (
            "brokers = ['h:1']\ntopic-name = 't'\nsasl = { user = 'u', password-file = 'f', mechanism = 'GSSAPI' }",
            "GSSAPI",
        ),
    ] {
        let error = error(lines);
        assert!(error.contains(part), "{lines}: {error}");
    }
}
