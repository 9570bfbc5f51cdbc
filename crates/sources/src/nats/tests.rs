//! Copies of the streams of a real server.

mod server;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use tokio::time::sleep;

use self::server::{Server, make, publish};
use crate::config::Config;
use crate::copier::End;
use crate::stage::{Stage, numbers};

/// A stage whose source is the stream `S`.
fn stage(server: &Server, lines: &str) -> Stage {
    let url = server.url();
    let nats = format!("[source.s.nats]\nservers = [{url:?}]\nstream = 'S'\n");
    let (common, own) = lines.split_once("---").unwrap_or(("topic = 't'", lines));
    Stage::new(&format!("[source.s]\n{common}\n{nats}{own}"))
}

#[tokio::test]
async fn ten_thousand_messages_are_copied_once_though_relay_and_server_are_killed() {
    let mut server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    let stage = stage(&server, "");
    let publisher = tokio::spawn(async move { publish(&context, "s.a", 1, 10_000).await });
    for round in 0..6 {
        let relay = stage.relay();
        // It dies somewhere in the middle of a batch.
        stage.events("t", 1_000 * (round + 1)).await;
        drop(relay);
        if round % 2 == 1 {
            server.kill();
            let relay = stage.relay();
            sleep(Duration::from_millis(100)).await;
            server.restart();
            stage.events("t", 1_000 * (round + 1) + 100).await;
            drop(relay);
        }
    }
    let _relay = stage.relay();
    publisher.await.unwrap();
    // A number that was published again after a kill stands where the server put it.
    let stored = server.contents().await;
    let mut sorted: Vec<u64> = stored.iter().map(|text| text.parse().unwrap()).collect();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(1..=10_000));
    let copied = stage.entries("t", 10_000).await;
    assert!(copied == stored, "the copy differs from the stream");
    let snapshot = stage.snapshot();
    assert_eq!((snapshot.copied, snapshot.missed), (10_000, 0));
}

#[tokio::test]
async fn a_stream_with_many_topics_is_copied_once_though_relays_are_killed() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    let stage = stage(&server, "topic = '{stream}/{subject}'\ngap-topic = 'gaps'\n---");
    for round in 0..5 {
        let relay = stage.relay();
        for subject in ["s.a", "s.b", "s.c.d"] {
            publish(&context, subject, round * 300 + 1, round * 300 + 300).await;
        }
        drop(relay);
    }
    let _relay = stage.relay();
    for topic in ["S/s.a", "S/s.b", "S/s.c.d"] {
        assert_eq!(stage.entries(topic, 1500).await, numbers(1, 1500));
    }
}

#[tokio::test]
async fn the_number_of_messages_that_were_trimmed_meanwhile_is_exact() {
    let server = Server::start();
    let context =
        server.stream(stream::Config { max_messages: 100, ..stream::Config::default() }).await;
    let stage = stage(&server, "");
    let relay = stage.relay();
    publish(&context, "s.a", 1, 50).await;
    stage.events("t", 50).await;
    drop(relay);
    publish(&context, "s.a", 51, 250).await;
    let _relay = stage.relay();
    let entries = stage.entries("t", 151).await;
    assert_eq!(entries[50], "Broken(Missing)");
    assert_eq!(entries[51..], numbers(151, 250));
    assert_eq!(stage.snapshot().missed, 100);
}

#[tokio::test]
async fn messages_that_were_purged_or_deleted_are_told_in_their_place() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    let stream = context.get_stream("S").await.unwrap();
    publish(&context, "s.a", 1, 10).await;
    for sequence in [5, 6] {
        stream.delete_message(sequence).await.unwrap();
    }
    let stage = stage(&server, "");
    let relay = stage.relay();
    let hole =
        |from, to, then| [numbers(from, to), vec!["Broken(Missing)".to_owned()], then].concat();
    let first = hole(1, 4, numbers(7, 10));
    assert_eq!(stage.entries("t", 9).await, first);
    assert_eq!(stage.snapshot().missed, 2);
    drop(relay);
    publish(&context, "s.a", 11, 20).await;
    stream.purge().await.unwrap();
    let relay = stage.relay();
    // It is told though no message follows.
    stage.events("t", 10).await;
    assert_eq!(stage.snapshot().missed, 12);
    publish(&context, "s.a", 21, 22).await;
    let all = [first, hole(1, 0, numbers(21, 22))].concat();
    assert_eq!(stage.entries("t", 12).await, all);
    drop(relay);
    let _relay = stage.relay();
    publish(&context, "s.a", 23, 23).await;
    assert_eq!(stage.entries("t", 13).await.len(), 13, "the gap is told once");
}

#[tokio::test]
async fn a_message_that_was_deleted_is_told_though_none_follows() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    publish(&context, "s.a", 1, 3).await;
    let stage = stage(&server, "");
    let relay = stage.relay();
    stage.events("t", 3).await;
    drop(relay);
    publish(&context, "s.a", 4, 4).await;
    context.get_stream("S").await.unwrap().delete_message(4).await.unwrap();
    let _relay = stage.relay();
    assert_eq!(stage.entries("t", 4).await[3], "Broken(Missing)");
    assert_eq!((stage.snapshot().missed, stage.place("t").await.unwrap().major), (1, 4));
}

#[tokio::test]
async fn a_stream_that_was_made_again_is_read_from_its_first_message() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    let stage = stage(&server, "");
    let relay = stage.relay();
    publish(&context, "s.a", 1, 20).await;
    stage.events("t", 20).await;
    // Under the reader, with fewer messages.
    context.delete_stream("S").await.unwrap();
    make(&context, stream::Config::default()).await;
    publish(&context, "s.a", 101, 105).await;
    let mut expected = numbers(1, 20);
    expected.push("Broken(Missing)".to_owned());
    expected.extend(numbers(101, 105));
    assert_eq!(stage.entries("t", 26).await, expected);
    assert_eq!(stage.place("t").await.unwrap().era, 1);
    drop(relay);
    // While nobody reads, with more messages.
    context.delete_stream("S").await.unwrap();
    make(&context, stream::Config::default()).await;
    publish(&context, "s.a", 201, 230).await;
    let _relay = stage.relay();
    expected.push("Broken(Missing)".to_owned());
    expected.extend(numbers(201, 230));
    assert_eq!(stage.entries("t", 57).await, expected);
    let place = stage.place("t").await.unwrap();
    assert_eq!((place.era, place.major), (2, 30));
}

/// As after a power cut: the server has answered for messages that were in no file yet.
#[tokio::test]
async fn messages_in_numbers_that_the_stream_has_lost_are_copied() {
    for (read, later) in [(60, 10), (60, 40)] {
        let mut server = Server::start();
        let context = server.stream(stream::Config::default()).await;
        publish(&context, "s.a", 1, 40).await;
        server.kill();
        let (store, saved) = (server.store(), server.dir.path().join("saved"));
        copy(&store, &saved);
        server.restart();
        let context = server.connect().await;
        publish(&context, "s.a", 41, read).await;
        let stage = stage(&server, "");
        let relay = stage.relay();
        stage.events("t", usize::try_from(read).unwrap()).await;
        drop(relay);
        server.kill();
        std::fs::remove_dir_all(&store).unwrap();
        copy(&saved, &store);
        server.restart();
        // The lost numbers are given out again, to fewer or to more messages than were read.
        let context = server.connect().await;
        publish(&context, "s.b", 1001, 1000 + later).await;
        let _relay = stage.relay();
        let mut expected = numbers(1, read);
        expected.push("Broken(Missing)".to_owned());
        expected.extend(numbers(1001, 1000 + later));
        assert_eq!(stage.entries("t", expected.len()).await, expected);
        let place = stage.place("t").await.unwrap();
        assert_eq!((place.era, place.major), (1, 40 + later));
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn messages_that_cannot_be_events_are_laid_aside() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    let send = async |subject: &str, kind: Option<&str>, payload: &'static [u8]| {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert("Tailwater-Type", kind);
        }
        let sent = context.publish_with_headers(subject.to_owned(), headers, payload.into());
        sent.await.unwrap().await.unwrap();
    };
    send("s.a", Some("order"), b"1").await;
    send("s.$x", None, b"a subject of no topic").await;
    send("s.a", None, b"\xff\xfe").await;
    send("s.a", Some("two words"), b"3").await;
    send("s.a", None, b"").await;
    send("s.a", None, &[b'x'; 101]).await;
    let common = "topic = '{subject}'\ngap-topic = 'gaps'\nevent-bytes-max = 100\n";
    let rule = "on-error = 'dead-letter'\ndead-letter = 'bad'\n---";
    let stage = stage(&server, &format!("{common}{rule}"));
    let _relay = stage.relay();
    let events = stage.events("s.a", 2).await;
    let seen = events.iter().map(|event| (event.kind().map(|kind| kind.as_str()), event.data()));
    assert_eq!(seen.collect::<Vec<_>>(), [(Some("order"), "1"), (None, "")]);
    let bad = stage.entries("bad", 4).await;
    for (letter, reason) in bad.iter().zip([
        r#"subject \"s.$x\": a topic's name must not contain '$'"#,
        "the payload of 2 bytes is not UTF-8",
        "header Tailwater-Type: an event's type must not contain ' '",
        "an event has 101 bytes; event-bytes-max is 100",
    ]) {
        assert!(letter.contains(reason), "{letter}");
    }
}

#[tokio::test]
async fn a_hole_between_the_messages_of_a_subject_is_no_gap() {
    let server = Server::start();
    let context =
        server.stream(stream::Config { max_messages: 20, ..stream::Config::default() }).await;
    let stage = stage(&server, "topic = '{subject}'\ngap-topic = 'gaps'\n---subjects = ['s.a']");
    let relay = stage.relay();
    publish(&context, "s.a", 1, 3).await;
    publish(&context, "s.b", 1, 10).await;
    publish(&context, "s.a", 4, 5).await;
    assert_eq!(stage.entries("s.a", 5).await, numbers(1, 5));
    drop(relay);
    // It cannot be known whether one of them was of the subject.
    publish(&context, "s.b", 11, 50).await;
    publish(&context, "s.a", 6, 6).await;
    let _relay = stage.relay();
    assert_eq!(stage.entries("s.a", 6).await, numbers(1, 6));
    assert_eq!(stage.entries("gaps", 1).await, ["Broken(Missing)"]);
    assert_eq!((stage.snapshot().missed, stage.snapshot().gaps), (0, 1));
}

#[tokio::test]
async fn messages_of_other_subjects_that_were_removed_are_no_gap() {
    let mut server = Server::start();
    let config = stream::Config { max_messages: 20, ..stream::Config::default() };
    let context = server.stream(config).await;
    let stage = stage(&server, "subjects = ['s.a']");
    let _relay = stage.relay();
    publish(&context, "s.a", 1, 3).await;
    stage.events("t", 3).await;
    publish(&context, "s.b", 1, 40).await;
    // It looks once in ten seconds.
    sleep(Duration::from_secs(12)).await;
    server.kill();
    server.restart();
    let context = server.connect().await;
    publish(&context, "s.a", 4, 4).await;
    assert_eq!(stage.entries("t", 4).await, numbers(1, 4));
    assert_eq!(stage.snapshot().gaps, 0);
}

#[tokio::test]
async fn several_subjects_need_a_server_that_knows_them() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    let stage = stage(&server, "subjects = ['s.a', 's.b']");
    let _relay = stage.relay();
    publish(&context, "s.a", 1, 1).await;
    publish(&context, "s.c", 2, 2).await;
    publish(&context, "s.b", 3, 3).await;
    if context.client().is_server_compatible(2, 10, 0) {
        assert_eq!(stage.entries("t", 2).await, ["1", "3"]);
    } else {
        let error = stage.until(|snapshot| snapshot.error.is_some()).await.error.unwrap();
        assert!(error.contains("selects by one subject at most"), "{error}");
    }
}

#[tokio::test]
async fn a_source_that_begins_with_new_messages_keeps_its_place_before_the_first() {
    let server = Server::start();
    let context = server.stream(stream::Config::default()).await;
    publish(&context, "s.a", 1, 5).await;
    let stage = stage(&server, "begin = 'new'");
    let relay = stage.relay();
    stage.until(|snapshot| snapshot.state == crate::stats::State::Copying).await;
    // A beat has stored the place.
    sleep(crate::lead::BEAT + Duration::from_millis(500)).await;
    drop(relay);
    publish(&context, "s.a", 6, 7).await;
    let _relay = stage.relay();
    assert_eq!(stage.entries("t", 2).await, numbers(6, 7));
}

#[tokio::test]
async fn a_stream_whose_messages_others_remove_is_refused() {
    let server = Server::start();
    let retention = stream::RetentionPolicy::WorkQueue;
    server.stream(stream::Config { retention, ..stream::Config::default() }).await;
    let stage = stage(&server, "");
    let _relay = stage.relay();
    let error = stage.until(|snapshot| snapshot.error.is_some()).await.error.unwrap();
    assert!(error.contains("has the retention WorkQueue"), "{error}");
}

#[tokio::test]
async fn the_password_is_read_again_at_each_opening() {
    let server = Server::with("authorization { user: u, password: secret }");
    let file = server.dir.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let url = server.url();
    let stage = Stage::new(&format!(
        "[source.s]\ntopic = 't'\nnats = {{ servers = [{url:?}], stream = 'S', user = 'u', password-file = {file:?} }}"
    ));
    let relay = stage.relay();
    let error = stage.until(|snapshot| snapshot.error.is_some()).await.error.unwrap();
    assert!(error.contains("refuses the login"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    drop(relay);
    std::fs::write(&file, "secret\n").unwrap();
    let _relay = stage.relay();
    stage
        .until(|snapshot| snapshot.error.as_deref().is_some_and(|e| e.contains("stream not found")))
        .await;
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority() {
    let dir = tempfile::TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    let script = "set -e\nfor ca in ours other; do\n\
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.crt\ndone\n\
        openssl req -newkey rsa:2048 -nodes -subj /CN=nats -keyout nats.key -out nats.csr\n\
        echo subjectAltName=IP:127.0.0.1 >nats.ext\n\
        openssl x509 -req -in nats.csr -CA ours.crt -CAkey ours.key -CAcreateserial -days 2 \
            -extfile nats.ext -out nats.crt";
    let mut made = std::process::Command::new("sh");
    assert!(made.args(["-c", script]).current_dir(&dir).output().unwrap().status.success());
    let (cert, key) = (at("nats.crt"), at("nats.key"));
    let server = Server::with(&format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}"));
    for (ca, part) in [("other.crt", "certificate"), ("ours.crt", "stream not found")] {
        let stage = stage(&server, &format!("ca-file = {:?}", at(ca)));
        let _relay = stage.relay();
        stage.until(|s| s.error.as_deref().is_some_and(|error| error.contains(part))).await;
    }
}

#[tokio::test]
async fn a_gap_stops_the_source_if_the_operator_says_so() {
    let server = Server::start();
    let context =
        server.stream(stream::Config { max_messages: 5, ..stream::Config::default() }).await;
    let stage = stage(&server, "topic = 't'\non-gap = 'stop'\n---");
    let relay = stage.relay();
    publish(&context, "s.a", 1, 5).await;
    stage.events("t", 5).await;
    drop(relay);
    publish(&context, "s.a", 6, 12).await;
    assert_eq!(stage.relay().end().await, End::Stopped);
    let error = stage.snapshot().error.unwrap();
    assert_eq!(
        error,
        "events are missing: the stream has removed 2 messages before they were read"
    );
}

#[test]
fn mistakes_are_named() {
    let error = |lines: &str| {
        let text =
            format!("[source.s]\ntopic = '{{subject}}'\ngap-topic = 'g'\n[source.s.nats]\n{lines}");
        Config::parse(&text).unwrap_err().to_string()
    };
    for (lines, part) in [
        ("servers = []\nstream = 'S'", "nats.servers has 0 servers; it must have 1 to 16"),
        ("servers = ['nats://u:p@h']\nstream = 'S'", "use user and password-file"),
        ("servers = ['ws://h']\nstream = 'S'", "must begin with nats:// or tls://"),
        ("servers = ['h']\nstream = 'a.b'", "nats.stream = \"a.b\"; a stream's name"),
        ("servers = ['h']\nstream = 'S'\nsubjects = ['a..b']", "nats.subjects has \"a..b\""),
        ("servers = ['h']\nstream = 'S'\ntype-header = 'a:b'", "nats.type-header = \"a:b\""),
        ("servers = ['h']\nstream = 'S'\nuser = 'u'", "a half of the first"),
        ("servers = ['h']\nstream = 'S'\nbegin = 'now'", "now"),
        ("servers = ['h']\nstream = 'S'\npassword = 'x'", "password"),
    ] {
        let error = error(lines);
        assert!(error.contains(part), "{lines}: {error}");
    }
    assert!(!error("servers = ['nats://u:p@h']\nstream = 'S'").contains("u:p"));
}
